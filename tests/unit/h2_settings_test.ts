/** SETTINGS: values, order, and who may say what (RFC 9113, section 6.5). */
import { assertEquals } from "@std/assert";
import { codeName } from "../../lib/http/h2/errors.ts";
import { encodeSettings } from "../../lib/http/h2/frame_writer.ts";
import {
  applySettings,
  initialSettings,
  Setting,
  type Settings,
} from "../../lib/http/h2/settings.ts";
import { written } from "../support/hpack.ts";

type Entries = readonly (readonly [id: number, value: number])[];

/** Applies entries to the initial settings. */
function apply(entries: Entries, sender: "client" | "server" = "client"): [string, Settings] {
  const bytes = written((out) => encodeSettings(out, entries));
  const settings = initialSettings();
  const error = applySettings(settings, { bytes, start: 9, end: bytes.length }, sender);
  return [error === undefined ? "" : codeName(error.code), settings];
}

Deno.test("each setting is read, and the last of several values counts", () => {
  const [error, settings] = apply([
    [Setting.HeaderTableSize, 1],
    [Setting.EnablePush, 0],
    [Setting.MaxConcurrentStreams, 0],
    [Setting.InitialWindowSize, 0x7fffffff],
    [Setting.MaxFrameSize, 0xffffff],
    [Setting.MaxHeaderListSize, 0xffffffff],
    [Setting.HeaderTableSize, 0],
  ]);
  assertEquals(error, "");
  assertEquals(settings, {
    headerTableSize: 0,
    enablePush: false,
    maxConcurrentStreams: 0,
    initialWindowSize: 0x7fffffff,
    maxFrameSize: 0xffffff,
    maxHeaderListSize: 0xffffffff,
  });
});

Deno.test("no settings and unknown settings change nothing", () => {
  assertEquals(apply([]), ["", initialSettings()]);
  const unknown: Entries = [[0, 1], [Setting.NoRfc7540Priorities, 1], [0xffff, 0xffffffff]];
  assertEquals(apply(unknown), ["", initialSettings()]);
});

const BAD: readonly (readonly [string, Entries, "client" | "server", string])[] = [
  ["push of 2", [[Setting.EnablePush, 2]], "client", "PROTOCOL_ERROR"],
  ["push enabled by a client", [[Setting.EnablePush, 1]], "client", ""],
  ["push enabled by a server", [[Setting.EnablePush, 1]], "server", "PROTOCOL_ERROR"],
  ["push disabled by a server", [[Setting.EnablePush, 0]], "server", ""],
  ["E7: a window of 2^31", [[Setting.InitialWindowSize, 2 ** 31]], "client", "FLOW_CONTROL_ERROR"],
  ["a frame size of 16384", [[Setting.MaxFrameSize, 16_384]], "client", ""],
  ["E7: a frame size of 1", [[Setting.MaxFrameSize, 1]], "client", "PROTOCOL_ERROR"],
  ["a frame size of 16383", [[Setting.MaxFrameSize, 16_383]], "client", "PROTOCOL_ERROR"],
  ["a frame size of 2^24", [[Setting.MaxFrameSize, 2 ** 24]], "client", "PROTOCOL_ERROR"],
  ["32 entries", Array(32).fill([0xff, 0]), "client", ""],
  ["33 entries", Array(33).fill([0xff, 0]), "client", "ENHANCE_YOUR_CALM"],
];

for (const [name, entries, sender, error] of BAD) {
  Deno.test(`${name} is ${error === "" ? "no error" : error}`, () => {
    assertEquals(apply(entries, sender)[0], error);
  });
}
