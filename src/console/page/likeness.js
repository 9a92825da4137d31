// Likeness of a place on the live picture to what was seen there: luma in
// cells, as the server gives it of a finding's frame.

/** Cell that was painted over: its content is unknown. */
export const UNKNOWN = 0;
/** Smallest part of the cells that must be known. */
const KNOWN = 0.5;
/** Least correlation of the whole. */
const CORRELATED = 0.95;
/** Gain between two decoders' ranges and matrices; another one is another picture. */
const GAIN = [0.6, 1.6];
/** Side in cells of the windows that are compared one by one, about a glyph. */
const WINDOW = 4;
/** Greatest mean difference within a window, as a part of the contrast. */
const DIFFERENT = 0.125;

/** Greatest difference of luma between cells without text; a thin letter fills a cell by a fifth, and a dim one differs from its ground by 50. */
const BLANK = 8;

/** True if nothing is written there. @param {Uint8Array | Float32Array} live */
export function isBlank(live) {
  let [low, high] = [255, 0];
  for (const luma of live) [low, high] = [Math.min(low, luma), Math.max(high, luma)];
  return high - low <= BLANK;
}

/**
 * True if both show the same, whatever the range of their luma: as a whole and
 * in each window, so that one changed digit in a long line counts.
 * @param {Uint8Array} seen @param {Uint8Array | Float32Array} live
 * @param {number} columns
 */
export function isAlike(seen, live, columns) {
  const { correlation, gain, worst } = compare(seen, live, columns);
  return correlation >= CORRELATED && gain >= GAIN[0] && gain <= GAIN[1] && worst <= DIFFERENT;
}

/**
 * @param {Uint8Array} seen @param {Uint8Array | Float32Array} live @param {number} columns
 * @returns {{correlation: number, gain: number, worst: number}}
 */
export function compare(seen, live, columns) {
  const none = { correlation: 0, gain: 0, worst: Infinity };
  let [count, sumSeen, sumLive] = [0, 0, 0];
  let [low, high] = [255, 0];
  for (let at = 0; at < seen.length; at += 1) {
    if (seen[at] === UNKNOWN) continue;
    count += 1;
    sumSeen += seen[at];
    sumLive += live[at];
    low = Math.min(low, seen[at]);
    high = Math.max(high, seen[at]);
  }
  if (count < KNOWN * seen.length || high <= low) return none;
  const [meanSeen, meanLive] = [sumSeen / count, sumLive / count];
  let [varSeen, varLive, both] = [0, 0, 0];
  for (let at = 0; at < seen.length; at += 1) {
    if (seen[at] === UNKNOWN) continue;
    const [one, other] = [seen[at] - meanSeen, live[at] - meanLive];
    varSeen += one * one;
    varLive += other * other;
    both += one * other;
  }
  if (varSeen === 0 || varLive === 0) return none;
  const gain = both / varSeen;
  const rows = seen.length / columns;
  const [wide, tall] = [Math.min(WINDOW, columns), Math.min(WINDOW, rows)];
  let worst = 0;
  for (let top = 0; top + tall <= rows; top += 1) {
    for (let left = 0; left + wide <= columns; left += 1) {
      let [difference, known] = [0, 0];
      for (let row = top; row < top + tall; row += 1) {
        for (let at = row * columns + left; at < row * columns + left + wide; at += 1) {
          if (seen[at] === UNKNOWN) continue;
          known += 1;
          difference += Math.abs((live[at] - meanLive) / gain - (seen[at] - meanSeen));
        }
      }
      // A window that is mostly covered says nothing.
      if (known * 2 >= wide * tall) worst = Math.max(worst, difference / known);
    }
  }
  return { correlation: both / Math.sqrt(varSeen * varLive), gain, worst: worst / (high - low) };
}
