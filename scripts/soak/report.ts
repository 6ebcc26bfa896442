/**
 * What came of a soak, as text, and whether that is as it must be.
 *
 * @module
 */
import { type BalancerReport, isAtRest, type SoakReport } from "./run.ts";
import { type Growth, isLeak, MAX_GROWTH } from "./sample.ts";

const MIB = 2 ** 20;
const whole = (count: number) => count.toLocaleString("en-US");

function amount(bytes: number): string {
  const sign = bytes < 0 ? "-" : "";
  const size = Math.abs(bytes);
  return size >= MIB
    ? `${sign}${(size / MIB).toFixed(1)} MiB`
    : `${sign}${(size / 1024).toFixed(1)} KiB`;
}

function renderGrowth({ kind, mean, growth, error, perHour }: Growth): string {
  const limit = MAX_GROWTH[kind];
  if (limit === undefined) {
    return `  ${kind.padEnd(12)} mean ${mean.toFixed(0)}, slope ${perHour.toFixed(1)} an hour`;
  }
  return `  ${kind.padEnd(12)} mean ${amount(mean)}, fitted growth ${amount(growth)} ± ${
    amount(error)
  }, slope ${amount(perHour)} an hour (${amount(limit)} may be)`;
}

function renderBalancer({ name, before, after, growths }: BalancerReport): string[] {
  const pair = (kind: "connections" | "upstream" | "descriptors") =>
    `${before[kind]} → ${after[kind]}`;
  return [
    name,
    `  connections  ${pair("connections")}, to backends ${pair("upstream")}`,
    `  descriptors  ${pair("descriptors")}`,
    ...growths.map(renderGrowth),
  ];
}

/** The report as text. */
export function renderSoak({ seconds, lines, balancers }: SoakReport): string {
  const width = Math.max(...lines.map(({ name }) => name.length));
  return [
    `soak of ${seconds} s`,
    "",
    ...lines.flatMap(({ name, counts: { requests, answered, failures } }) => [
      `${name.padEnd(width)}  ${whole(requests)}, as promised ${whole(answered)}`,
      ...failures.map(({ count, reason }) => `  ${whole(count)} × ${reason}`),
    ]),
    "",
    ...balancers.flatMap(renderBalancer),
  ].join("\n");
}

/** What is not as it must be. */
export function judgeSoak({ lines, balancers }: SoakReport): string[] {
  const wrong: string[] = [];
  for (const { name, counts: { requests, answered } } of lines) {
    if (requests === 0) wrong.push(`${name}: nothing was done`);
    if (answered < requests) wrong.push(`${name}: ${requests - answered} came out otherwise`);
  }
  for (const { name, before, after, growths, complaints } of balancers) {
    if (!isAtRest(after, before)) {
      wrong.push(`${name}: connections or descriptors did not return to where they began`);
    }
    for (const growth of growths.filter(isLeak)) {
      wrong.push(`${name}: ${growth.kind} grew by ${amount(growth.growth)}`);
    }
    if (complaints.length > 0) wrong.push(`${name} logged: ${complaints.slice(0, 3).join("\n")}`);
  }
  return wrong;
}
