/**
 * Loaded into a program before all of its own: the time of day jumps an hour ahead, an hour back, and to where it is,
 * again and again, as it does on machines whose clock is put right.
 *
 * @module
 */

const HOUR_MS = 3_600_000;
/** Milliseconds between two jumps: shorter than whatever the program waits for. */
const JUMP_MS = 70;
const OFFSETS = [HOUR_MS, -HOUR_MS, 0, 24 * HOUR_MS, -24 * HOUR_MS];

const RealDate = Date;
const realNow = Date.now.bind(Date);
// What does not jump: the program under test must not be asked.
const started = performance.now();

function offset(): number {
  const jumps = Math.floor((performance.now() - started) / JUMP_MS);
  return OFFSETS[jumps % OFFSETS.length]!;
}

class JumpingDate extends RealDate {
  constructor(...args: []) {
    super(...(args.length === 0 ? [JumpingDate.now()] : args) as []);
  }

  static override now(): number {
    return realNow() + offset();
  }
}

globalThis.Date = JumpingDate as DateConstructor;
