/**
 * The Connection field: what it says of the connection itself, and which fields end at this hop.
 *
 * @module
 */
import { ascii } from "./chars.ts";
import { type FieldTable, Known } from "./fields.ts";

/** What the Connection field asks for. */
export interface ConnectionOptions {
  /** The connection ends with this message. */
  readonly close: boolean;
  /** The connection may stay open (HTTP/1.0). */
  readonly keepAlive: boolean;
  /** The Upgrade field counts. */
  readonly upgrade: boolean;
  /** Field names, in lower case, that end at this hop. */
  readonly nominated: readonly string[];
}

/** Fields that a peer cannot have removed by naming them: routing and framing need them. */
const NEVER_NOMINATED = new Set(["host", "content-length", "transfer-encoding"]);

const KEEP_ALIVE = ascii("keep-alive");
const KEEP_ALIVE_ONLY: ConnectionOptions = {
  close: false,
  keepAlive: true,
  upgrade: false,
  nominated: [],
};

/** What Connection asks for, `undefined` when it is absent. What most servers send is told by its bytes. */
export function readConnection(fields: FieldTable): ConnectionOptions | undefined {
  const index = fields.find(Known.Connection);
  if (index < 0) return undefined;
  if (fields.has(Known.Connection) === 1 && fields.isValue(index, KEEP_ALIVE)) {
    return KEEP_ALIVE_ONLY;
  }
  return parseConnection(fields.joined(Known.Connection)!);
}

/** Parses the joined values of Connection (RFC 9110, section 7.6.1). */
function parseConnection(value: string): ConnectionOptions {
  let close = false, keepAlive = false, upgrade = false;
  const nominated: string[] = [];
  for (const part of value.split(",")) {
    const option = part.replace(/^[ \t]+|[ \t]+$/g, "").toLowerCase();
    if (option === "close") close = true;
    else if (option === "keep-alive") keepAlive = true;
    else if (option === "upgrade") upgrade = true;
    else if (option !== "" && !NEVER_NOMINATED.has(option)) nominated.push(option);
  }
  return { close, keepAlive, upgrade, nominated };
}
