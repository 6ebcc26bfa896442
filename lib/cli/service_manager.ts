/**
 * Telling systemd, or whatever speaks like it, how far the process is: sd_notify(3).
 *
 * @module
 */
import { LinuxSockets } from "../common/linux_sockets.ts";
import { describeError } from "../common/errors.ts";
import { getLogger } from "../observe/logger.ts";

/** Where to. */
const VARIABLE = "NOTIFY_SOCKET";

const log = getLogger("cli");

/**
 * Says something, if anybody listens.
 *
 * @param state E.g. `READY=1`, `STOPPING=1` or `MAINPID=123`.
 */
export function notifyManager(state: string): void {
  const path = Deno.env.get(VARIABLE);
  if (path === undefined || path === "") return;
  try {
    using sockets = new LinuxSockets();
    sockets.send(path, state);
  } catch (error) {
    log.warning("the service manager could not be told", { state, error: describeError(error) });
  }
}
