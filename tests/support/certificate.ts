/**
 * Certificates for tests, made when they are needed: no key is kept anywhere and none can expire.
 *
 * @module
 */
import { parseIp } from "../../lib/common/address.ts";
import { concat, latin1 } from "./net.ts";

/** A certificate with its key, both in PEM. */
export interface Certified {
  readonly cert: string;
  readonly key: string;
}

/** Signs certificates. */
export interface Authority {
  /** Its own certificate in PEM, for those who are to trust it. */
  readonly cert: string;
  /** Makes a certificate for DNS names and IP addresses. */
  issue(...names: string[]): Promise<Certified>;
}

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

// Tags and object identifiers: X.690, RFC 5280 and RFC 5758, section 3.2.
const SEQUENCE = 0x30;
const SET = 0x31;
const ECDSA_WITH_SHA256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const COMMON_NAME = [0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME = [0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS = [0x55, 0x1d, 0x13];

/** One element: tag, length, content. */
function der(tag: number, ...content: (Uint8Array | readonly number[])[]): Uint8Array<ArrayBuffer> {
  const body = concat(new Uint8Array(0), ...content.map((part) => Uint8Array.from(part)));
  const { length } = body;
  const header = length < 0x80
    ? [tag, length]
    : length < 0x100
    ? [tag, 0x81, length]
    : [tag, 0x82, length >> 8, length & 0xff];
  return concat(Uint8Array.from(header), body) as Uint8Array<ArrayBuffer>;
}

const oid = (bytes: readonly number[]) => der(0x06, bytes);
const algorithm = der(SEQUENCE, oid(ECDSA_WITH_SHA256));

/** A positive INTEGER of big-endian bytes. */
function integer(bytes: Uint8Array): Uint8Array {
  const first = bytes.findIndex((byte) => byte !== 0);
  const digits = bytes.subarray(first < 0 ? bytes.length - 1 : first);
  return der(0x02, digits[0]! >= 0x80 ? [0] : [], digits);
}

const name = (commonName: string) =>
  der(SEQUENCE, der(SET, der(SEQUENCE, oid(COMMON_NAME), der(0x0c, latin1(commonName)))));

/** GeneralizedTime. */
const time = (date: Date) => der(0x18, latin1(date.toISOString().replace(/[-:T]|\.\d+/g, "")));

/** A GeneralName: an IP address or a DNS name. */
function altName(text: string): Uint8Array {
  const ip = parseIp(text);
  return ip === undefined ? der(0x82, latin1(text)) : der(0x87, ip.toByteArray());
}

function pem(label: string, bytes: Uint8Array): string {
  const lines = bytes.toBase64().replace(/.{64}/g, "$&\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

const makeKeys = () => crypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
const DAY_MS = 86_400_000;

async function sign(
  parts: { readonly issuer: string; readonly subject: string; readonly extension: Uint8Array },
  subjectKey: CryptoKey,
  signingKey: CryptoKey,
): Promise<string> {
  const now = Date.now();
  const toBeSigned = der(
    SEQUENCE,
    der(0xa0, der(0x02, [2])),
    integer(crypto.getRandomValues(new Uint8Array(16))),
    algorithm,
    name(parts.issuer),
    der(SEQUENCE, time(new Date(now - DAY_MS)), time(new Date(now + DAY_MS))),
    name(parts.subject),
    new Uint8Array(await crypto.subtle.exportKey("spki", subjectKey)),
    der(0xa3, der(SEQUENCE, parts.extension)),
  );
  const signature = new Uint8Array(await crypto.subtle.sign(ECDSA, signingKey, toBeSigned));
  const half = signature.length / 2;
  const encoded = der(
    SEQUENCE,
    integer(signature.subarray(0, half)),
    integer(signature.subarray(half)),
  );
  return pem("CERTIFICATE", der(SEQUENCE, toBeSigned, algorithm, der(0x03, [0], encoded)));
}

/** Makes an authority that nobody trusts yet. */
export async function makeAuthority(commonName = "lb test authority"): Promise<Authority> {
  const { privateKey, publicKey } = await makeKeys();
  const isAuthority = der(
    SEQUENCE,
    oid(BASIC_CONSTRAINTS),
    der(0x01, [0xff]),
    der(0x04, der(SEQUENCE, der(0x01, [0xff]))),
  );
  const own = { issuer: commonName, subject: commonName, extension: isAuthority };
  return {
    cert: await sign(own, publicKey, privateKey),
    async issue(...names) {
      const keys = await makeKeys();
      const extension = der(
        SEQUENCE,
        oid(SUBJECT_ALT_NAME),
        der(0x04, der(SEQUENCE, ...names.map(altName))),
      );
      const subject = { issuer: commonName, subject: names[0] ?? "nobody", extension };
      return {
        cert: await sign(subject, keys.publicKey, privateKey),
        key: pem(
          "PRIVATE KEY",
          new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey)),
        ),
      };
    },
  };
}
