/**
 * Settings of a connection: RFC 9113, section 6.5.
 *
 * @module
 */
import { type ConnectionError, connectionError, H2Code } from "./errors.ts";
import { MAX_MAX_FRAME_SIZE, MAX_UINT31, MIN_MAX_FRAME_SIZE, readUint32 } from "./frames.ts";

/** Identifiers: RFC 9113, section 6.5.2; the last is of RFC 9218. */
export const Setting = {
  HeaderTableSize: 0x1,
  EnablePush: 0x2,
  MaxConcurrentStreams: 0x3,
  InitialWindowSize: 0x4,
  MaxFrameSize: 0x5,
  MaxHeaderListSize: 0x6,
  NoRfc7540Priorities: 0x9,
} as const;

/** What one side has told the other, sizes in bytes; {@linkcode initialSettings} until it says more. */
export interface Settings {
  /** What its decoder's table may hold. */
  headerTableSize: number;
  /** Whether it takes pushed responses. */
  enablePush: boolean;
  /** How many streams the other side may have open; `Infinity` until it is told. */
  maxConcurrentStreams: number;
  /** The window that each stream begins with. */
  initialWindowSize: number;
  /** The largest payload of a frame that it takes. */
  maxFrameSize: number;
  /** The largest field section that it takes, counted as in RFC 9113, section 6.5.2; advice only. */
  maxHeaderListSize: number;
}

/** What holds before any SETTINGS: RFC 9113, section 6.5.2. */
export function initialSettings(): Settings {
  return {
    headerTableSize: 4096,
    enablePush: true,
    maxConcurrentStreams: Infinity,
    initialWindowSize: 65_535,
    maxFrameSize: MIN_MAX_FRAME_SIZE,
    maxHeaderListSize: Infinity,
  };
}

/** Entries of one SETTINGS frame that are taken; RFC 9113 has seven, and extensions a few more. */
export const MAX_SETTINGS_ENTRIES = 32;

const ENTRY_SIZE = 6;

/**
 * Applies the payload `bytes[start..end)` of a SETTINGS frame, whose length the frame reader has checked,
 * to what is known of its sender. Entries count in their order; unknown ones are ignored.
 *
 * @param sender Who sent it: a server must not enable push.
 * @returns The error, or `undefined`. After an error `settings` may be changed in part.
 */
export function applySettings(
  settings: Settings,
  { bytes, start, end }: {
    readonly bytes: Uint8Array;
    readonly start: number;
    readonly end: number;
  },
  sender: "client" | "server",
): ConnectionError | undefined {
  if (end - start > MAX_SETTINGS_ENTRIES * ENTRY_SIZE) {
    return connectionError(
      H2Code.EnhanceYourCalm,
      `SETTINGS with ${
        (end - start) / ENTRY_SIZE
      } entries, at most ${MAX_SETTINGS_ENTRIES} are taken`,
    );
  }
  for (let at = start; at < end; at += ENTRY_SIZE) {
    const value = readUint32(bytes, at + 2);
    switch (bytes[at]! << 8 | bytes[at + 1]!) {
      case Setting.HeaderTableSize:
        settings.headerTableSize = value;
        break;
      case Setting.EnablePush:
        if (value > (sender === "client" ? 1 : 0)) {
          return connectionError(H2Code.ProtocolError, `SETTINGS_ENABLE_PUSH of ${value}`);
        }
        settings.enablePush = value === 1;
        break;
      case Setting.MaxConcurrentStreams:
        settings.maxConcurrentStreams = value;
        break;
      case Setting.InitialWindowSize:
        if (value > MAX_UINT31) {
          return connectionError(
            H2Code.FlowControlError,
            `SETTINGS_INITIAL_WINDOW_SIZE of ${value}, at most ${MAX_UINT31} is allowed`,
          );
        }
        settings.initialWindowSize = value;
        break;
      case Setting.MaxFrameSize:
        if (value < MIN_MAX_FRAME_SIZE || value > MAX_MAX_FRAME_SIZE) {
          return connectionError(
            H2Code.ProtocolError,
            `SETTINGS_MAX_FRAME_SIZE of ${value}, from ${MIN_MAX_FRAME_SIZE} to ${MAX_MAX_FRAME_SIZE} is allowed`,
          );
        }
        settings.maxFrameSize = value;
        break;
      case Setting.MaxHeaderListSize:
        settings.maxHeaderListSize = value;
        break;
    }
  }
  return undefined;
}
