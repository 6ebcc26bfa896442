/**
 * What the options mean to HTTP/2 connections: those of clients, and those to backends.
 *
 * @module
 */
import { DEFAULT_HEAD_LIMITS } from "../http/h1/limits.ts";
import { DEFAULT_FIELD_LIMITS, type FieldLimits } from "../http/h2/hpack/field_list.ts";
import { DEFAULT_H2_OPTIONS, type H2Options } from "../http/h2/options.ts";
import { DEFAULT_KEEPALIVE, type Limits, type LoadBalancerOptions } from "./options.ts";

/** The shortest keepalive of a client, in milliseconds (gRFC A8); servers may refuse much longer ones. */
export const MIN_UPSTREAM_KEEPALIVE = 10_000;

/** What connections of clients are granted and asked. */
export function clientConnections(options: LoadBalancerOptions): Partial<H2Options> {
  const { keepalive = {}, timeouts = {}, limits = {} } = options;
  return {
    fields: fieldLimits(limits),
    keepaliveTime: keepalive.time ?? DEFAULT_KEEPALIVE.time,
    keepaliveTimeout: keepalive.timeout ?? DEFAULT_KEEPALIVE.timeout,
    keepaliveIdle: keepalive.withoutCalls ?? DEFAULT_KEEPALIVE.withoutCalls,
    minPingInterval: keepalive.minPingInterval ?? DEFAULT_KEEPALIVE.minPingInterval,
    permitIdlePings: keepalive.permitWithoutCalls ?? DEFAULT_KEEPALIVE.permitWithoutCalls,
    maxAge: timeouts.maxConnectionAge ?? Infinity,
    maxAgeGrace: timeouts.maxConnectionAgeGrace ?? Infinity,
    windowTimeout: timeouts.windowStall ?? DEFAULT_H2_OPTIONS.windowTimeout,
    idleTimeout: timeouts.idle ?? DEFAULT_H2_OPTIONS.idleTimeout,
    frameTimeout: timeouts.requestHead ?? DEFAULT_H2_OPTIONS.frameTimeout,
  };
}

/**
 * The same for connections to backends.
 *
 * @throws {TypeError} When backends would be pinged too often.
 */
export function backendConnections(options: LoadBalancerOptions): Partial<H2Options> {
  const { keepalive = {}, timeouts = {}, limits = {} } = options;
  const time = keepalive.upstreamTime ?? DEFAULT_KEEPALIVE.upstreamTime;
  if (!(time >= MIN_UPSTREAM_KEEPALIVE)) {
    throw new TypeError(
      `keepalive.upstreamTime ${time}: at least ${MIN_UPSTREAM_KEEPALIVE} milliseconds are accepted`,
    );
  }
  return {
    fields: fieldLimits(limits),
    windowTimeout: timeouts.windowStall ?? DEFAULT_H2_OPTIONS.windowTimeout,
    keepaliveTime: time,
    keepaliveTimeout: keepalive.timeout ?? DEFAULT_KEEPALIVE.timeout,
    keepaliveIdle: keepalive.withoutCalls ?? DEFAULT_KEEPALIVE.withoutCalls,
  };
}

/**
 * A head of HTTP/2 may be as large as one of HTTP/1.1. What is larger is still decoded, up to twice as much, so that
 * only its stream is refused.
 */
function fieldLimits(limits: Limits): FieldLimits {
  const maxListSize = limits.maxHead ?? DEFAULT_HEAD_LIMITS.maxHead;
  return {
    maxBlock: Math.max(DEFAULT_FIELD_LIMITS.maxBlock, 2 * maxListSize),
    maxListSize,
    maxFields: limits.maxFields ?? DEFAULT_HEAD_LIMITS.maxFields,
  };
}
