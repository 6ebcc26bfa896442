/**
 * Starts `balancer_program.ts` and looks at it from outside.
 *
 * @module
 */
import { cpuSeconds, residentBytes } from "../../scripts/bench/process.ts";
import { PROJECT_ROOT } from "../../scripts/module_graph.ts";
import type { BalancerAddresses, BalancerProgram } from "./balancer_program.ts";
import { Peer } from "./net.ts";

/** Balancers in a process of their own. */
export class BalancerProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #output: Promise<string>;
  #ending = false;
  /** Its admin listener. The connection stays open, since none can be opened when descriptors have run out. */
  #admin: Promise<Peer> | undefined;
  /** Where they listen. */
  readonly addresses: BalancerAddresses;

  private constructor(
    child: Deno.ChildProcess,
    output: Promise<string>,
    addresses: BalancerAddresses,
  ) {
    this.#child = child;
    this.#output = output;
    this.addresses = addresses;
  }

  /** Where the balancer at layer 7 listens. */
  get l7(): Deno.Addr {
    return this.addresses.l7;
  }

  /** Where the balancer at layer 4 listens. */
  get l4(): Deno.Addr {
    return this.addresses.l4;
  }

  /**
   * Starts the process.
   *
   * @param descriptors The limit of open files that it gets.
   */
  static async start(program: BalancerProgram, descriptors?: number): Promise<BalancerProcess> {
    const limit = descriptors === undefined ? "" : `ulimit -n ${descriptors} && `;
    const child = new Deno.Command("sh", {
      args: [
        "-c",
        `${limit}exec "$@"`,
        "sh",
        Deno.execPath(),
        ...["run", "--no-lock", "--no-check", "-A", "tests/support/balancer_program.ts"],
        JSON.stringify(program),
      ],
      cwd: PROJECT_ROOT,
      // The runtime reads further certificates in the background, which takes a descriptor for a moment.
      env: { NO_COLOR: "1", NODE_EXTRA_CA_CERTS: "" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const output = new Response(child.stderr).text();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let line = "";
    while (!line.includes("\n")) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`the balancers did not start: ${await output}`);
      line += value;
    }
    await reader.cancel();
    return new BalancerProcess(child, output, JSON.parse(line));
  }

  /** Its metrics as Prometheus reads them. */
  async metrics(): Promise<string> {
    const admin = await (this.#admin ??= Peer.connect(this.addresses.admin));
    const { status, text } = await admin.ask("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    if (status !== 200) throw new Error(`no metrics: ${text}`);
    return text;
  }

  /** CPU seconds that it has used. */
  get cpuSeconds(): number {
    return cpuSeconds(this.#child.pid);
  }

  /** Its resident memory in bytes. */
  get residentBytes(): number {
    return residentBytes(this.#child.pid);
  }

  /** How many descriptors it has open. */
  get descriptors(): number {
    return [...Deno.readDirSync(`/proc/${this.#child.pid}/fd`)].length;
  }

  /** Lets it shut down; fails when it does not end in order, or has ended before. */
  async end(): Promise<{ readonly output: string }> {
    if (!this.#ending) {
      this.#ending = true;
      await (await this.#admin)?.close();
      this.#child.kill("SIGTERM");
    }
    const { code, signal } = await this.#child.status;
    const output = await this.#output;
    if (code !== 0) throw new Error(`the balancers ended with ${signal ?? code}: ${output}`);
    return { output };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
