/**
 * What an exchange sees of the client connection that it belongs to.
 *
 * @module
 */
import type { ByteReader, ReadWatcher } from "../../common/byte_reader.ts";
import type { Duplex } from "../../common/duplex.ts";
import type { Forwarding } from "../forwarded.ts";
import type { RequestHead } from "../h1/request.ts";
import type { ResponseHead } from "../h1/response.ts";
import type { HttpContext } from "./context.ts";
import type { Planner } from "./plan.ts";

/** What the connections of one listener use together; each is used synchronously only. */
export interface Scratch {
  /** The head of the request that is being read. */
  readonly request: RequestHead;
  /** The head of the response that is being read. */
  readonly response: ResponseHead;
  /** Plans exchanges. */
  readonly planner: Pick<Planner, "plan">;
}

/** A client connection, to the exchange that is under way on it. */
export interface Downstream extends ReadWatcher {
  /** The socket. */
  readonly duplex: Duplex;
  /** What is read from it. */
  readonly reader: ByteReader;
  /** What all connections of the listener share. */
  readonly context: HttpContext;
  /** What is parsed into. */
  readonly scratch: Scratch;
  /** What backends are told of the client. */
  readonly forwarding: Forwarding;
  /** Whether the connection ends with this exchange. */
  readonly draining: boolean;
  /** Sets the connection's deadline, in milliseconds from now. */
  arm(delay: number): void;
  /** The exchange has ended; `keep` says whether another request may follow. */
  onAnswered(keep: boolean): void;
  /** Ends the connection in order. */
  close(): Promise<void>;
}
