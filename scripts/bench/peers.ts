/**
 * The backends, and the proxies that lb is compared with, each set up for the same work.
 *
 * @module
 */
import { type Child, findProgram, freePort, type Processes, waitForPort } from "./process.ts";
import { isFile } from "../script.ts";
import { GRPC_MESSAGE, type Scenario, SCENARIOS, SMALL_BODY } from "./scenario.ts";

/** The CPU of the proxies. They take turns on it. */
export const PROXY_CPU = 0;
/** The CPU of the backends and of the load generator. */
export const LOAD_CPU = 1;

/** A proxy under test. */
export interface Proxy {
  name: string;
  port: number;
  child: Child;
}

/** What every proxy is started with. */
export interface Setup {
  processes: Processes;
  /** An empty folder for configuration and temporary files. */
  folder: string;
  scenario: Scenario;
  /** Ports of the backends. */
  backends: readonly number[];
}

/** Settings that nginx needs to run from a folder of its own, as any user. */
function nginxMain(folder: string): string {
  return `worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 8192; }`;
}

function nginxHttp(folder: string, servers: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
  return `http {
  access_log off; sendfile on; keepalive_requests 1000000000; ${temporary}
${servers}
}`;
}

/**
 * Starts one nginx that serves every scenario's body on two ports.
 *
 * @returns The ports.
 */
export async function startBackends(processes: Processes, folder: string): Promise<number[]> {
  for (const { path, bodyBytes, streams } of SCENARIOS) {
    if (path !== "/" && streams === undefined) {
      await Deno.writeFile(`${folder}${path}`, new Uint8Array(bodyBytes).fill(0x61));
    }
  }
  const ports = [freePort(), freePort()];
  const servers = ports.map((port) =>
    `  server { listen 127.0.0.1:${port}; root ${folder}; ` +
    `location = / { return 200 "${SMALL_BODY.replace("\n", "\\n")}"; } }`
  );
  const config = `${folder}/nginx.conf`;
  await Deno.writeTextFile(
    config,
    `${nginxMain(folder)}\n${nginxHttp(folder, servers.join("\n"))}`,
  );
  const child = processes.spawn([findProgram("nginx")!, "-c", config], { cpu: LOAD_CPU });
  for (const port of ports) await waitForPort(port, "the backend nginx", child);
  return ports;
}

/**
 * Starts two nghttpd that answer a call as a gRPC backend does, but for the trailers.
 *
 * @returns The ports.
 */
export async function startGrpcBackends(processes: Processes, folder: string): Promise<number[]> {
  await Deno.mkdir(`${folder}/grpc/echo.Echo`, { recursive: true });
  await Deno.writeFile(`${folder}/grpc/echo.Echo/Say`, GRPC_MESSAGE);
  const ports = [freePort(), freePort()];
  for (const port of ports) {
    const child = processes.spawn(
      [findProgram("nghttpd")!, "--no-tls", "-d", `${folder}/grpc`, "-n1", "-m1000", String(port)],
      { cpu: LOAD_CPU },
    );
    await waitForPort(port, "a backend nghttpd", child);
  }
  return ports;
}

/** A proxy that can be compared with: its setup for a scenario, or why it cannot take part. */
interface Peer {
  name: string;
  /** Writes the configuration and names the command that starts the proxy. */
  configure(setup: Setup, port: number): Promise<Start | { skip: string }>;
}

interface Start {
  command: string[];
  env?: Record<string, string>;
}

const nginx: Peer = {
  name: "nginx",
  async configure({ folder, scenario, backends }, port) {
    const program = findProgram("nginx")!;
    const servers = backends.map((backend) => `server 127.0.0.1:${backend};`).join(" ");
    let config: string;
    if (scenario.layer === 4) {
      const load = await loadStreamModule(program);
      if (load === undefined) return { skip: "its stream module is not installed" };
      config = `${load}${nginxMain(folder)}
stream { upstream b { ${servers} } server { listen 127.0.0.1:${port}; proxy_pass b; } }`;
    } else if (scenario.streams !== undefined) {
      const server = `  upstream b { ${servers} keepalive 256; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port} http2; http2_max_concurrent_streams 1000;
    location / { grpc_pass grpc://b; }
  }`;
      config = `${nginxMain(folder)}\n${nginxHttp(folder, server)}`;
    } else {
      const server = `  upstream b { ${servers} keepalive 256; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${port}; location / {
    proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  } }`;
      config = `${nginxMain(folder)}\n${nginxHttp(folder, server)}`;
    }
    await Deno.writeTextFile(`${folder}/nginx.conf`, config);
    return { command: [program, "-c", `${folder}/nginx.conf`] };
  },
};

/** The directive that loads layer 4: none where nginx has it built in, undefined where it is missing. */
async function loadStreamModule(program: string): Promise<string | undefined> {
  const { stderr } = await new Deno.Command(program, { args: ["-V"], stdout: "null" }).output();
  const options = new TextDecoder().decode(stderr);
  if (/--with-stream(\s|$)/.test(options)) return "";
  const file = `${/--modules-path=(\S+)/.exec(options)?.[1]}/ngx_stream_module.so`;
  return isFile(file) ? `load_module ${file};\n` : undefined;
}

const haproxy: Peer = {
  name: "haproxy",
  async configure({ folder, scenario, backends }, port) {
    const l7 = scenario.layer === 7;
    const h2 = l7 && scenario.streams !== undefined ? " proto h2" : "";
    const servers = backends.map((backend, index) =>
      `  server s${index} 127.0.0.1:${backend}${h2}`
    );
    await Deno.writeTextFile(
      `${folder}/haproxy.cfg`,
      `global
  nbthread 1
  maxconn 8000
defaults
  mode ${l7 ? "http" : "tcp"}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend f
  bind 127.0.0.1:${port}${h2}
${l7 ? "  option forwardfor\n" : ""}  default_backend b
backend b
${l7 ? "  http-reuse always\n" : ""}  balance roundrobin
${servers.join("\n")}
`,
    );
    return { command: [findProgram("haproxy")!, "-f", `${folder}/haproxy.cfg`] };
  },
};

const caddy: Peer = {
  name: "caddy",
  async configure({ folder, scenario, backends }, port) {
    // gRPC is compared at layer 4 too, where it balances calls and not connections.
    if (scenario.layer === 4 && scenario.streams === undefined) {
      return { skip: "it has no layer 4 without a plugin" };
    }
    const scheme = scenario.streams === undefined ? "" : "h2c://";
    const servers = backends.map((backend) => `${scheme}127.0.0.1:${backend}`).join(" ");
    const config = `${folder}/Caddyfile`;
    await Deno.writeTextFile(
      config,
      `{
  admin off
  auto_https off
  servers {
    protocols h1 h2 h2c
  }
}
http://:${port} {
  bind 127.0.0.1
  reverse_proxy ${servers} {
    lb_policy round_robin
  }
}
`,
    );
    return {
      command: [findProgram("caddy")!, "run", "--adapter=caddyfile", `--config=${config}`],
      env: { GOMAXPROCS: "1", HOME: folder },
    };
  },
};

const nghttpx: Peer = {
  name: "nghttpx",
  configure({ scenario, backends }, port) {
    if (scenario.streams === undefined) {
      return Promise.resolve({ skip: "it is compared for gRPC, which it balances per call" });
    }
    return Promise.resolve({
      command: [
        findProgram("nghttpx")!,
        "--conf=/dev/null",
        `-f127.0.0.1,${port};no-tls`,
        ...backends.map((backend) => `-b127.0.0.1,${backend};;proto=h2`),
        "-n1",
        "--accesslog-file=/dev/null",
      ],
    });
  },
};

/** The proxies that lb is compared with. */
const PEERS: readonly Peer[] = [nginx, haproxy, caddy, nghttpx];

/** The proxies that were started, and why others were not. */
export interface Peers {
  proxies: Proxy[];
  skipped: string[];
}

/** Starts every peer that is installed and can do the work of the scenario. */
export async function startPeers(setup: Setup): Promise<Peers> {
  const peers: Peers = { proxies: [], skipped: [] };
  for (const { name, configure } of PEERS) {
    if (findProgram(name) === undefined) {
      peers.skipped.push(`${name}: not installed`);
      continue;
    }
    const port = freePort();
    const start = await configure(setup, port);
    if ("skip" in start) {
      peers.skipped.push(`${name}: ${start.skip}`);
      continue;
    }
    const { command, env = {} } = start;
    const child = setup.processes.spawn(command, { cpu: PROXY_CPU, env });
    await waitForPort(port, name, child);
    peers.proxies.push({ name, port, child });
  }
  return peers;
}

/** Starts a build of lb for the scenario. */
export async function startLb(
  { processes, scenario, backends }: Setup,
  { name, command }: { name: string; command: readonly string[] },
): Promise<Proxy> {
  const port = freePort();
  const scheme = scenario.mode === "http-l7" ? "http://" : "";
  const child = processes.spawn([
    ...command,
    scenario.mode,
    "--listen",
    `127.0.0.1:${port}`,
    ...backends.flatMap((backend) => ["--backend", `${scheme}127.0.0.1:${backend}`]),
  ], { cpu: PROXY_CPU });
  await waitForPort(port, name, child);
  return { name, port, child };
}

/** The version numbers of the installed peers and of the load generator, by name. */
export async function readVersions(): Promise<Record<string, string>> {
  const versions: Record<string, string> = { deno: Deno.version.deno };
  for (
    const [name, option] of [
      ["nginx", "-v"],
      ["haproxy", "-v"],
      ["caddy", "version"],
      ["nghttpx", "-v"],
    ] as const
  ) {
    const program = findProgram(name);
    if (program === undefined) continue;
    const { stdout, stderr } = await new Deno.Command(program, { args: [option] }).output();
    const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    versions[name] = /\d+(?:\.\d+)+/.exec(text)?.[0] ?? "unknown";
  }
  return versions;
}
