// Worker: compares places with each frame of a video track, off the main
// thread.

import { Comparison } from './comparison.js';
import { lumaOfFrame } from './luma.js';

/** @typedef {import('./comparison.js').Place} Place */
/** @typedef {{frames: ReadableStream<VideoFrame>} | {places: Place[]} | {reset: true}} ToComparer */
/** @typedef {{changes: import('./comparison.js').Change[]} | {unreadable: true}} FromComparer */

const comparison = new Comparison();
/** @type {ReadableStreamDefaultReader<VideoFrame> | null} */
let reader = null;
let wake = () => {};

/** @param {FromComparer} message */
const tell = (message) => postMessage(message);

addEventListener('message', ({ data }) => {
  const message = /** @type {ToComparer} */ (data);
  if ('frames' in message) {
    reader?.cancel().catch(() => {});
    reader = message.frames.getReader();
    comparison.reset();
    wake();
    watch(reader);
  } else if ('places' in message) comparison.set(message.places);
  else comparison.reset();
  wake();
});

/** @param {ReadableStreamDefaultReader<VideoFrame>} mine */
async function watch(mine) {
  while (mine === reader) {
    // Frames that nobody reads are dropped before they cost anything.
    if (comparison.isEmpty) await new Promise((resolve) => { wake = () => resolve(undefined); });
    if (mine !== reader) return;
    const { done, value: frame } = await mine.read();
    if (done) return;
    try {
      const changes = await comparison.look((places) => lumaOfFrame(frame, places), performance.now());
      if (mine !== reader) return;
      if (changes === null) return tell({ unreadable: true });
      if (changes.length > 0) tell({ changes });
    } finally {
      frame.close();
    }
  }
}
