/**
 * The names of the balancer's own gRPC services.
 *
 * @module
 */

/** Management. */
export const LOAD_BALANCER = "lb.LoadBalancer";
/** Health. */
export const HEALTH = "grpc.health.v1.Health";
/** Reflection. */
export const REFLECTION = "grpc.reflection.v1.ServerReflection";
/** Reflection as older clients ask for it. */
export const REFLECTION_ALPHA = "grpc.reflection.v1alpha.ServerReflection";
