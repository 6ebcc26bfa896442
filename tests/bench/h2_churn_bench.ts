/**
 * What it costs that streams come and go: 100 are open at a time, each with an object of the size of a call, and 20,000 are
 * opened and ended. With a `Map` or a `Set` each object that was there when a table was discarded outlives every minor
 * collection.
 */
import { Clock } from "../../lib/common/clock.ts";
import { Members, type Place } from "../../lib/common/members.ts";
import { StreamTable } from "../../lib/http/h2/stream_table.ts";

const OPEN = 100;
const STREAMS = 20_000;
/** Numbers that an object of the size of a call holds. */
const SIZE = 150;

/** The part of a stream that a table looks at, and what depends on it. */
interface Churned {
  readonly id: number;
  readonly call: number[];
}

function makeStream(id: number): Churned {
  return { id, call: new Array(SIZE).fill(0) };
}

const streams = new StreamTable<Churned>();
const map = new Map<number, Churned>();
let next = 1;

Deno.bench("streams in a table of their own", { group: "streams", baseline: true }, () => {
  for (const last = next + 2 * STREAMS; next < last; next += 2) {
    streams.add(makeStream(next));
    if (streams.size > OPEN) streams.delete(next - 2 * OPEN);
  }
});

let nextInMap = 1;

Deno.bench("streams in a Map", { group: "streams" }, () => {
  for (const last = nextInMap + 2 * STREAMS; nextInMap < last; nextInMap += 2) {
    map.set(nextInMap, makeStream(nextInMap));
    if (map.size > OPEN) map.delete(nextInMap - 2 * OPEN);
  }
});

class Deadline {
  deadline = Infinity;
  watchedAt = -1;
  readonly call: number[] = new Array(SIZE).fill(0);

  onDeadline(): void {}
}

const clock = new Clock();
const watched: Deadline[] = Array.from({ length: OPEN }, () => new Deadline());
for (const deadline of watched) clock.watch(deadline);

Deno.bench("deadlines of a clock", { group: "deadlines", baseline: true }, () => {
  for (let i = 0; i < STREAMS; i++) {
    clock.unwatch(watched[i % OPEN]!);
    clock.watch(watched[i % OPEN] = new Deadline());
  }
});

const set = new Set<Deadline>();
const inSet: Deadline[] = Array.from({ length: OPEN }, () => new Deadline());
for (const deadline of inSet) set.add(deadline);

Deno.bench("deadlines in a Set", { group: "deadlines" }, () => {
  for (let i = 0; i < STREAMS; i++) {
    set.delete(inSet[i % OPEN]!);
    set.add(inSet[i % OPEN] = new Deadline());
  }
});

const members = new Members<number[]>();
const makeMember = (): Place<number[]> => members.add(new Array(SIZE).fill(0));
const places: Place<number[]>[] = Array.from({ length: OPEN }, makeMember);

Deno.bench("connections that know their places", { group: "connections", baseline: true }, () => {
  for (let i = 0; i < STREAMS; i++) {
    members.delete(places[i % OPEN]!);
    places[i % OPEN] = makeMember();
  }
});

const connections = new Set<number[]>();
const inConnections: number[][] = Array.from({ length: OPEN }, () => new Array(SIZE).fill(0));
for (const connection of inConnections) connections.add(connection);

Deno.bench("connections in a Set", { group: "connections" }, () => {
  for (let i = 0; i < STREAMS; i++) {
    connections.delete(inConnections[i % OPEN]!);
    connections.add(inConnections[i % OPEN] = new Array(SIZE).fill(0));
  }
});
