/**
 * What the search for the backend of a tunnel comes to: the calls that waited for it go there, or are answered.
 *
 * @module
 */
import type { LiveBackend } from "../../backend/backend.ts";
import type { ErrorCode } from "../../common/errors.ts";
import { H2Code } from "../../http/h2/errors.ts";
import type { FieldLimits } from "../../http/h2/hpack/field_list.ts";
import { Setting, type Settings } from "../../http/h2/settings.ts";
import { NO_ROUTE } from "../../http/l7/plan.ts";
import { statusOfReset } from "../status.ts";
import type { Entry, Leg } from "./leg.ts";
import type { Tunnel } from "./tunnel.ts";

/** What a backend is told of a client. */
export function settingsFor(client: Settings, { maxListSize }: FieldLimits): readonly Entry[] {
  return [
    [Setting.InitialWindowSize, client.initialWindowSize],
    [Setting.MaxHeaderListSize, Math.min(client.maxHeaderListSize, maxListSize)],
  ];
}

/**
 * A backend takes calls: those that waited go there, the oldest, as many as it takes at a time. The others have not
 * been acted upon, and the client is told so (RFC 9113, section 8.7).
 */
export function attach(tunnel: Tunnel, backend: Leg, live: LiveBackend): void {
  const { client, hold, windows, options } = tunnel;
  let room = backend.peer.maxConcurrentStreams;
  for (const call of tunnel.calls.list().sort((a, b) => a.id - b.id)) {
    if (room-- > 0) {
      call.record.attempt(NO_ROUTE, live);
      backend.budget.countStream();
      continue;
    }
    call.record.error = "upstream_reset";
    tunnel.resetBackend(call.id, H2Code.RefusedStream);
    tunnel.resetClient(call.id, H2Code.RefusedStream);
    tunnel.remove(call, statusOfReset(H2Code.RefusedStream));
  }
  if (tunnel.closed) return;
  const { outlet } = backend;
  // The client may have changed its mind since the backend was greeted.
  const told = settingsFor(client.peer, options.fields);
  backend.tell(outlet.writer, told, { forwarded: false, lowered: 0 });
  tunnel.backend = backend;
  client.target = outlet;
  const { flow, frames } = hold.release(outlet.writer);
  for (let i = 0; i < frames; i++) backend.budget.countDataSent();
  windows.onBackend(flow);
  windows.creditBackend(1);
  outlet.schedule();
}

/** The backend has gone: what its client sends is held, or goes nowhere. */
export function detach(tunnel: Tunnel): void {
  tunnel.backend = undefined;
  tunnel.client.target = tunnel.hold;
}

/** There is no backend: the calls that waited for one are answered, and later ones may look again. */
export function giveUp(tunnel: Tunnel, code: ErrorCode): void {
  if (tunnel.closed) return;
  tunnel.windows.giveBack(tunnel.hold.clear().flow);
  for (const call of tunnel.calls.list()) tunnel.endCall(call, code);
}
