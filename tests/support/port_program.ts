/**
 * A host with few local ports, all of them taken: two backends, a balancer and its client in one process, which must
 * run in a network of its own (see `ports_test.ts`). What happens is printed as one line of JSON,
 * {@linkcode PortReport}.
 *
 * @module
 */
import { HttpL7 } from "../../mod.ts";
import { Peer } from "./net.ts";

/** What one request came to. */
export interface PortAnswer {
  readonly status: number;
  /** The body, or the code of the refusal. */
  readonly text: string;
  readonly retryAfter: string | null;
}

/** What has happened. */
export interface PortReport {
  /** Answers while there was no port for the first backend. */
  readonly one: readonly PortAnswer[];
  /** Answers while there was none for either. */
  readonly both: readonly PortAnswer[];
  /** What was thought of the backends then. */
  readonly states: readonly string[];
  /** Answers when there were ports again. */
  readonly after: readonly PortAnswer[];
}

const [FIRST, SECOND, LISTENER] = [30_001, 30_002, 30_003];
/** More than it takes to eject a backend. */
const REQUESTS = 12;

const respond = (name: string) => () => new Response(name, { headers: { Connection: "close" } });

function serve(port: number, name: string): Deno.HttpServer {
  const options = { hostname: "127.0.0.1", port, onListen: () => {} };
  return Deno.serve(options, respond(name));
}

/** Takes all ports that there are for a destination. */
async function takePorts(port: number): Promise<Deno.Conn[]> {
  const taken: Deno.Conn[] = [];
  try {
    for (;;) taken.push(await Deno.connect({ hostname: "127.0.0.1", port }));
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrNotAvailable)) throw error;
  }
  return taken;
}

async function ask(client: Peer): Promise<PortAnswer[]> {
  const answers: PortAnswer[] = [];
  for (let i = 0; i < REQUESTS; i++) {
    const { status, text, headers } = await client.get("/");
    const said = status === 200 ? text : JSON.parse(text).code;
    answers.push({ status, text: said, retryAfter: headers.get("retry-after") });
  }
  return answers;
}

if (import.meta.main) {
  const backends = [serve(FIRST, "first"), serve(SECOND, "second")];
  const lb = new HttpL7({
    backends: [FIRST, SECOND].map((port) => `http://127.0.0.1:${port}`),
    healthCheck: { check: "tcp", interval: 100, timeout: 5000, fall: 2 },
    retries: { budget: { floor: 1000 } },
  });
  const server = await lb.start(`127.0.0.1:${LISTENER}`);
  const client = await Peer.connect(server.addr);
  const taken = await takePorts(FIRST);
  const one = await ask(client);
  taken.push(...await takePorts(SECOND));
  const both = await ask(client);
  const states = lb.backends().map(({ health }) => health.state);
  for (const conn of taken) conn.close();
  let after: PortAnswer[] = [];
  // Ports that were closed at this end are kept for a while by the system.
  for (let tries = 0; tries < 100; tries++) {
    after = await ask(client);
    const names = new Set(after.map(({ text }) => text));
    if (names.has("first") && names.has("second") && names.size === 2) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const report: PortReport = { one, both, states, after };
  console.log(JSON.stringify(report));
  await client.close();
  await server.shutdown();
  await Promise.all(backends.map((backend) => backend.shutdown()));
}
