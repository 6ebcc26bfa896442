/**
 * The metrics of gRPC calls for Prometheus.
 *
 * @module
 */
import {
  type Family,
  histogramSamples,
  type Labels,
  type LabelsOf,
  type Sample,
} from "./family.ts";
import { type GrpcMethodStats, STATUS_LABELS } from "./grpc_metrics.ts";
import type { Metrics } from "./metrics.ts";

const STATUSES: readonly Labels[] = STATUS_LABELS.map((grpc_status) => ({ grpc_status }));
const DURATION = "lb_grpc_call_duration_seconds";

/** The families of all listeners; listeners without gRPC calls have no values in them. */
export function grpcFamilies(metrics: Metrics, labelsOf: LabelsOf): Family[] {
  const family = (
    name: string,
    type: Family["type"],
    help: string,
    read: (stats: GrpcMethodStats, labels: Labels) => Sample[],
  ): Family => ({ name, type, help, groups: perMethod(metrics, labelsOf, read) });
  const counter = (name: string, help: string, read: (stats: GrpcMethodStats) => number) =>
    family(
      name,
      "counter",
      help,
      (stats, sharedLabels) => [{ sharedLabels, value: read(stats) }],
    );
  return [
    {
      name: "lb_grpc_calls_total",
      type: "counter",
      help: "Finished gRPC calls by the status that ended them; missing: the answer had none.",
      groups: perBackend(metrics, labelsOf),
    },
    family(
      DURATION,
      "histogram",
      "Time from the head of a gRPC call to the end of its answer.",
      (stats, labels) => histogramSamples(DURATION, stats, labels),
    ),
    family(
      "lb_grpc_active_calls",
      "gauge",
      "Unfinished gRPC calls.",
      (stats, sharedLabels) => [{ sharedLabels, value: stats.active }],
    ),
    counter(
      "lb_grpc_messages_received_total",
      "Messages of gRPC calls received from clients.",
      (stats) => stats.messagesReceived,
    ),
    counter(
      "lb_grpc_messages_sent_total",
      "Messages of gRPC calls received from backends.",
      (stats) => stats.messagesSent,
    ),
    counter(
      "lb_grpc_received_bytes_total",
      "Content of gRPC calls received from clients.",
      (stats) => stats.bytesReceived,
    ),
    counter(
      "lb_grpc_sent_bytes_total",
      "Content of gRPC calls sent to clients.",
      (stats) => stats.bytesSent,
    ),
  ];
}

function* perMethod(
  metrics: Metrics,
  labelsOf: LabelsOf,
  read: (stats: GrpcMethodStats, labels: Labels) => Sample[],
): Generator<Sample[]> {
  for (const { name: listener, grpc } of metrics.listeners()) {
    for (const stats of grpc.series()) {
      const { service, method } = stats;
      yield read(stats, labelsOf(stats, () => ({ listener, service, method })));
    }
  }
}

/** Only the statuses that have come up: most methods know two or three. */
function* perBackend(metrics: Metrics, labelsOf: LabelsOf): Generator<Sample[]> {
  for (const { name: listener, grpc } of metrics.listeners()) {
    for (const stats of grpc.series()) {
      const { service, method } = stats;
      for (const [backend, statuses] of stats.backends()) {
        const sharedLabels = labelsOf(statuses, () => ({ listener, service, method, backend }));
        yield Array.from(STATUSES, (labels, i) => ({ labels, sharedLabels, value: statuses[i]! }))
          .filter(({ value }) => value > 0);
      }
    }
  }
}
