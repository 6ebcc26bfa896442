/**
 * The values of options as text: durations, sizes, counts and the like. Each parser throws a `TypeError`
 * that says what is accepted.
 *
 * @module
 */

import type { Backend } from "../backend/backend.ts";
import { MAX_WEIGHT } from "../backend/registry.ts";
import { parseListenAddress } from "../common/address.ts";
import { normalizeTarget } from "../common/dns_name.ts";
import { makeNetworkFilter } from "../common/networks.ts";
import { isSocketName } from "./endpoints.ts";

/** Milliseconds by unit. */
const TIME_UNITS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
]);
/** Timers of the runtime take 31 bits of milliseconds, a bit more than 24 days. */
const MAX_DURATION = 24 * 24 * 3_600_000;

/** Bytes by unit; all are binary, as in nginx. */
const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["k", 1024],
  ["kib", 1024],
  ["m", 1024 ** 2],
  ["mib", 1024 ** 2],
]);
const MAX_SIZE = 1024 ** 3;

/**
 * Parses a duration: `500ms`, `10s`, `1.5s`, `5m`, `1h`; a unit must be there, but for 0.
 *
 * @returns Milliseconds, at least `min`.
 */
export function parseDuration(text: string, min = 1): number {
  const [, digits, unit = ""] = /^(\d{1,12}(?:\.\d{1,6})?)([a-z]*)$/.exec(text) ?? [];
  // Nothing is nothing in any unit.
  const length = unit === "" && Number(digits) === 0 ? 0 : TIME_UNITS.get(unit) ?? NaN;
  const milliseconds = Math.round(Number(digits) * length);
  if (!(milliseconds >= min && milliseconds <= MAX_DURATION)) {
    refuse("duration", text, `a number with ms, s, m or h, such as 500ms or 10s, up to 576h`);
  }
  return milliseconds;
}

/** A duration in the largest unit that it is a whole number of, as {@linkcode parseDuration} reads it. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return "0s";
  const units = [...TIME_UNITS].reverse();
  const [unit, length] = units.find(([, length]) => milliseconds % length === 0) ?? ["ms", 1];
  return `${milliseconds / length}${unit}`;
}

/** Parses a size in bytes: `8192`, `16k`, `16KiB`, `1m`, `1MiB`, from 1 byte to 1 GiB. */
export function parseSize(text: string): number {
  const [, digits, unit = ""] = /^(\d{1,12})([a-z]*)$/.exec(text.toLowerCase()) ?? [];
  const bytes = Number(digits) * (SIZE_UNITS.get(unit) ?? NaN);
  if (!(bytes >= 1 && bytes <= MAX_SIZE)) {
    refuse(
      "size",
      text,
      "a number of bytes, such as 8192, or with k or m, such as 16k, up to 1024m",
    );
  }
  return bytes;
}

/** Parses a whole number within limits, which may both be reached. */
export function parseWhole(text: string, min: number, max: number): number {
  const number = Number(text);
  if (!/^\d{1,16}$/.test(text) || number < min || number > max) {
    refuse("number", text, `a whole number from ${min} to ${max}`);
  }
  return number;
}

/** Parses a share as `50%`. */
export function parsePercent(text: string): number {
  const [, digits] = /^(\d{1,3}(?:\.\d{1,2})?)%$/.exec(text) ?? [];
  if (digits === undefined || Number(digits) > 100) {
    refuse("share", text, "a percentage from 0% to 100%, such as 25%");
  }
  return Number(digits) / 100;
}

/** A share as {@linkcode parsePercent} takes it. */
export function formatPercent(share: number): string {
  return `${Number((share * 100).toFixed(2))}%`;
}

/** The largest count of anything. */
export const MAX_COUNT = 10_000_000;

/** Parses a count of at least 1. */
export function parseCount(text: string): number {
  return parseWhole(text, 1, MAX_COUNT);
}

/** Parses a TCP port. */
export function parsePort(text: string): number {
  return parseWhole(text, 1, 65535);
}

/** Parses a weight. */
export function parseWeight(text: string): number {
  return parseWhole(text, 0, MAX_WEIGHT);
}

/** Checks the address of a listener, or the name of a socket that was passed. */
export function checkListen(text: string): string {
  if (!isSocketName(text)) parseListenAddress(text);
  return text;
}

/** Checks the address of a backend, or the name of backends. */
export function checkAddress(text: string): string {
  normalizeTarget(text);
  return text;
}

/** Parses `ADDR` or `ADDR,weight=N`. */
export function parseBackend(text: string): Backend {
  const [addr = "", ...settings] = text.split(",");
  checkAddress(addr);
  if (settings.length === 0) return { addr };
  const [, weight] = /^weight=(.*)$/.exec(settings.join(",")) ?? [];
  if (weight === undefined) {
    refuse("backend", text, "ADDR or ADDR,weight=N, such as http://localhost:8081,weight=3");
  }
  return { addr, weight: parseWeight(weight) };
}

/** Checks an IP address or a CIDR prefix. */
export function checkNetwork(text: string): string {
  makeNetworkFilter([text]);
  return text;
}

/** Checks a name for the field Via: a token (RFC 9110, sections 5.6.2 and 7.6.3). */
export function checkViaName(text: string): string {
  if (!/^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/.test(text)) {
    refuse("name", text, "letters, digits and any of !#$%&'*+-.^_`|~");
  }
  return text;
}

/** Parses `NAME:VALUE`; the value may have colons and be empty. */
export function parsePair(text: string): readonly [name: string, value: string] {
  const colon = text.indexOf(":");
  if (colon < 1) refuse("pair", text, "NAME:VALUE, such as X-Version:v2");
  return [text.slice(0, colon), text.slice(colon + 1)];
}

function refuse(what: string, text: string, accepted: string): never {
  throw new TypeError(`${what} ${JSON.stringify(text)} is not accepted; accepted is ${accepted}`);
}
