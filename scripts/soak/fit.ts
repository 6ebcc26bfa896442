/**
 * A straight line through measurements.
 *
 * @module
 */

/** A line by least squares. */
export interface Fit {
  /** How much y grows with x. */
  readonly slope: number;
  /** The standard error of that; 0 where all points lie on the line, or there are but two. */
  readonly error: number;
}

/** Fits a line; a slope of 0 where there are fewer than two different x. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]): Fit {
  const count = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / count;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / count;
  let xx = 0;
  let xy = 0;
  for (const [x, y] of points) {
    xx += (x - meanX) ** 2;
    xy += (x - meanX) * (y - meanY);
  }
  if (count < 2 || xx === 0) return { slope: 0, error: 0 };
  const slope = xy / xx;
  if (count === 2) return { slope, error: 0 };
  const squares = points.reduce(
    (sum, [x, y]) => sum + (y - meanY - slope * (x - meanX)) ** 2,
    0,
  );
  return { slope, error: Math.sqrt(squares / (count - 2) / xx) };
}
