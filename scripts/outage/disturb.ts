/**
 * What is done to backends and balancers while they are under load.
 *
 * @module
 */
import type { Backend, Balancer } from "../load/fleet.ts";
import { GrpcManager, HttpManager, type Manager } from "./management.ts";

/** What there is to disturb. */
export interface World {
  /** Those that serve, and behind them one that is in reserve for `churn`. */
  readonly backends: readonly Backend[];
  readonly http: Balancer;
  readonly grpc: Balancer;
}

/** How it is disturbed. */
export interface Disturbance {
  /** How long the load lasts, in seconds. */
  readonly seconds: number;
  /** Seconds from one kill or restart to the next. */
  readonly every: number;
  /** Seconds that a backend is away. */
  readonly down: number;
  /** Configuration changes in all. */
  readonly changes: number;
}

/** What may be done. */
export const MODES = ["kill", "total", "restart", "churn", "none"] as const;

/** One of {@linkcode MODES}. */
export type Mode = typeof MODES[number];

/** What each of them means, for people. */
export const MODE_HELP: Readonly<Record<Mode, string>> = {
  kill: "one backend after the other is killed with SIGKILL and brought back",
  total: "all backends are killed at once and are away for half of the time",
  restart: "the balancers hand over to new processes (SIGUSR2)",
  churn: "a backend and routes come and go through POST /lb/add and lb.LoadBalancer",
  none: "nothing",
};

/** Milliseconds before the first disturbance, and behind the last one. */
const QUIET_MS = 1_000;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, Math.max(ms, 0)));

/**
 * Disturbs the world for as long as the load lasts.
 *
 * @returns What was done, for people.
 */
export async function disturb(mode: Mode, world: World, how: Disturbance): Promise<string> {
  const ends = performance.now() + how.seconds * 1000 - QUIET_MS;
  await sleep(QUIET_MS);
  switch (mode) {
    case "kill":
      return await killInTurn(world, how, ends);
    case "total":
      return await killAll(world, how);
    case "restart":
      return await restart(world, how, ends);
    case "churn":
      return await churn(world, how, ends);
    case "none":
      return "nothing was disturbed";
  }
}

async function killInTurn(
  { backends }: World,
  { every, down }: Disturbance,
  ends: number,
): Promise<string> {
  let kills = 0;
  const returning: Promise<void>[] = [];
  for (let next = performance.now(); next + down * 1000 < ends; next += every * 1000) {
    await sleep(next - performance.now());
    const backend = backends[kills++ % backends.length]!;
    await backend.kill();
    returning.push(sleep(down * 1000).then(() => backend.start()));
  }
  await Promise.all(returning);
  return `${kills} kills`;
}

async function killAll({ backends }: World, { seconds }: Disturbance): Promise<string> {
  const away = seconds / 2;
  await sleep((seconds - away) * 500);
  await Promise.all(backends.map((backend) => backend.kill()));
  await sleep(away * 1000);
  await Promise.all(backends.map((backend) => backend.start()));
  return `all backends were away for ${away} s`;
}

async function restart(
  { http, grpc }: World,
  { every }: Disturbance,
  ends: number,
): Promise<string> {
  let restarts = 0;
  for (let next = performance.now(); next < ends; next += every * 1000) {
    await sleep(next - performance.now());
    await Promise.all([http.restart(), grpc.restart()]);
    restarts++;
  }
  return `${restarts} restarts of each`;
}

/** Changes in one round of {@linkcode churnOne}. */
const ROUND = 6;

/** Makes changes, one after the other, evenly over the time. */
async function churn(world: World, { changes }: Disturbance, ends: number): Promise<string> {
  const spare = world.backends.at(-1)!;
  const rounds = Math.ceil(changes / ROUND);
  const pace = { rounds, interval: Math.max((ends - performance.now()) / rounds, 0) };
  await Promise.all([
    churnOne(new HttpManager(world.http.port), `http://127.0.0.1:${spare.httpPort}`, pace),
    churnOne(new GrpcManager(world.grpc.port), `grpc://127.0.0.1:${spare.grpcPort}`, pace),
  ]);
  return `${rounds * ROUND} changes of each`;
}

/** One backend comes, gets its share of the load, another weight and a route, and goes again; and so on. */
async function churnOne(
  manager: Manager,
  addr: string,
  { rounds, interval }: { readonly rounds: number; readonly interval: number },
): Promise<void> {
  const started = performance.now();
  for (let round = 0; round < rounds; round++) {
    const due = started + round * interval;
    await sleep(due - performance.now());
    const id = await manager.addBackend(addr);
    await manager.setWeight(id, 1 + round % 5);
    const route = await manager.addRoute(addr, round);
    await sleep(interval / 2);
    await manager.removeRoute(route);
    await manager.drain(id);
    await manager.removeBackend(id);
  }
  manager.close();
}
