/**
 * The composition root: puts listeners, proxies, registry, management and metrics together as the
 * balancers that users make.
 *
 * @module
 */
export { LoadBalancer, RoutingBalancer } from "./load_balancer/balancer.ts";
export { GrpcL4, GrpcL7 } from "./load_balancer/grpc.ts";
export { HttpL4, HttpL7, TcpL4 } from "./load_balancer/http.ts";
export { Mux } from "./load_balancer/mux.ts";
