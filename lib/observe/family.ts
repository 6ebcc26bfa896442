/**
 * Metrics as the text format has them: a name, a help text, a type and values in groups.
 *
 * @module
 */
import { DURATION_BOUNDS, type DurationHistogram } from "./duration.ts";

/** Names and values of labels. Names are ASCII letters, digits and `_`; values are any text. */
export type Labels = Readonly<Record<string, string>>;

/** A value as prom-client's registry takes it. */
export interface Sample {
  /** The name, where it is not that of the family. */
  readonly metricName?: string;
  /** What tells it from the others of its group. */
  readonly labels?: Labels;
  /** Formatted once per object and cached by the registry. */
  readonly sharedLabels?: Labels;
  /** The value. */
  readonly value: number;
}

/** A metric and all its values, in groups that belong together. */
export interface Family {
  /** The metric's name. */
  readonly name: string;
  /** What it says, in a sentence. */
  readonly help: string;
  /** What it is to Prometheus. */
  readonly type: "gauge" | "counter" | "histogram";
  /** The values of one group are of one instant. */
  readonly groups: Iterable<readonly Sample[]>;
}

/** The labels of a series, made once for as long as the object lives that keeps its numbers. */
export type LabelsOf = (series: object, make: () => Labels) => Labels;

const BOUND_LABELS: readonly Labels[] = [...DURATION_BOUNDS.map(String), "+Inf"]
  .map((le) => ({ le }));

/**
 * A histogram under the name of its family. The buckets are cumulative in the text, and `+Inf` equals the
 * count.
 */
export function histogramSamples(
  name: string,
  { buckets, sum, count }: DurationHistogram,
  sharedLabels: Labels,
): Sample[] {
  const samples: Sample[] = [];
  let value = 0;
  for (const [i, labels] of BOUND_LABELS.entries()) {
    value += buckets[i]!;
    samples.push({ metricName: `${name}_bucket`, labels, sharedLabels, value });
  }
  samples.push(
    { metricName: `${name}_sum`, sharedLabels, value: sum },
    { metricName: `${name}_count`, sharedLabels, value: count },
  );
  return samples;
}
