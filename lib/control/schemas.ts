/**
 * What the bodies of management requests may be. Loading this module loads zod (20 ms, 10 MB), so it is
 * imported when the first body comes.
 *
 * @module
 */

import { z } from "zod";
import { MAX_WEIGHT } from "../backend/registry.ts";
import type { AddL4Request, AddL7Request } from "./management.ts";
import { ManagementError } from "./management_error.ts";

/** How much of a refused value a message repeats, in UTF-16 code units. */
const MAX_QUOTE = 120;

// The message of every check is what is accepted; `refuse` puts the field and the value in front of it.
const integer = (min: number, max: number) => {
  const error = `an integer from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
};
const text = (accepted: string) => z.string({ error: accepted });
const list = (example: string) =>
  z.array(text(`a text such as "${example}"`), { error: `a list such as ["${example}"]` });
const valuesByName = (example: string) => {
  const values = "a text or a list of texts";
  return z.record(
    z.string(),
    z.union([z.string(), z.array(z.string())], { error: values }),
    { error: `an object such as ${example}, each value ${values}` },
  );
};

const weight = integer(0, MAX_WEIGHT).optional();

const shapes = {
  addL4: {
    addr: text('an address such as "10.0.0.5:8081"').optional(),
    port: integer(1, 65535).optional(),
    weight,
  },
  addL7: {
    backend_addr: text('an address such as "http://localhost:8083"'),
    weight,
    services: list("myapp.UserService").optional(),
    methods: list("Login").optional(),
    full_methods: list("/myapp.UserService/Login").optional(),
    grpc_headers: valuesByName('{"x-tenant": "blue"}').optional(),
    paths: list("/api/v2").optional(),
    headers: valuesByName('{"X-Version": "v2"}').optional(),
    params: valuesByName('{"beta": "1"}').optional(),
    discover_services: z.boolean({ error: "true or false" }).optional(),
  },
  change: { weight: integer(0, MAX_WEIGHT) },
} as const;

const schemas = {
  addL4: z.strictObject(shapes.addL4),
  addL7: z.strictObject(shapes.addL7),
  change: z.strictObject(shapes.change),
};

/** What a change of a backend may say. */
export interface ChangeRequest {
  /** Its new share, an integer from 0 to 65535. */
  readonly weight: number;
}

/**
 * The body of a request to add a backend at layer 4.
 *
 * @throws {ManagementError} `invalid_argument` with the field, the value and what is accepted.
 */
export function parseAddL4(body: unknown): AddL4Request {
  return parse("addL4", body) as AddL4Request;
}

/**
 * The body of a request to add a backend at layer 7.
 *
 * @throws {ManagementError} as {@linkcode parseAddL4}.
 */
export function parseAddL7(body: unknown): AddL7Request {
  return parse("addL7", body) as AddL7Request;
}

/**
 * The body of a request to change a backend.
 *
 * @throws {ManagementError} as {@linkcode parseAddL4}.
 */
export function parseChange(body: unknown): ChangeRequest {
  return parse("change", body) as ChangeRequest;
}

/** Whether a body has a field that only a backend at layer 7 may have. */
export function isAddL7(body: unknown): boolean {
  return typeof body === "object" && body !== null &&
    Object.keys(body).some((name) =>
      Object.hasOwn(shapes.addL7, name) && !Object.hasOwn(shapes.addL4, name)
    );
}

function parse(kind: keyof typeof shapes, body: unknown): unknown {
  const result = schemas[kind].safeParse(body, { reportInput: true });
  if (result.success) return result.data;
  // An unknown name comes first: it is often the reason why another one is missing.
  const { issues } = result.error;
  return refuse(issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0]!, kind);
}

function refuse(issue: z.core.$ZodIssue, kind: keyof typeof shapes): never {
  const names = Object.keys(shapes[kind]);
  if (issue.code === "unrecognized_keys") {
    const [name = ""] = issue.keys;
    throw new ManagementError(
      "invalid_argument",
      `there is no such field; accepted are ${names.join(", ")}`,
      name,
    );
  }
  if (issue.path.length === 0) {
    throw new ManagementError(
      "invalid_argument",
      `the body ${quote(issue.input)} is no JSON object; accepted is one with ${names.join(", ")}`,
    );
  }
  const problem = issue.input === undefined
    ? "it is missing"
    : `${quote(issue.input)} is no such value`;
  throw new ManagementError(
    "invalid_argument",
    `${problem}; accepted is ${issue.message}`,
    formatPath(issue.path),
  );
}

function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === "number"
        ? `${text}[${part}]`
        : text === ""
        ? String(part)
        : `${text}.${String(part)}`,
    "",
  );
}

function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > MAX_QUOTE ? `${text.slice(0, MAX_QUOTE)}…` : text;
}
