// Comparison with the live picture: in a worker where the browser hands out the
// frames of a track, else on the page, more seldom.

import { Comparison } from './comparison.js';
import { lumaOf } from './luma.js';

/** @import {Change, Place} from './comparison.js' */
/** @import {FromComparer, ToComparer} from './compare-worker.js' */

/** Interval in ms on the page: each picture that is asked for costs about two. */
const SELDOM = 200;
/** Comparing takes at most this part of the page's time. */
const SHARE = 1 / 20;

/** @typedef {new (of: {track: MediaStreamTrack}) => {readable: ReadableStream<VideoFrame>}} TrackProcessor */

export class Comparer {
  #video;
  #changed;
  /** @type {Place[]} */ #places = [];
  /** @type {Worker | null} */ #worker = null;
  /** Track that the worker reads. @type {MediaStreamTrack | null} */ #track = null;
  /** Comparison on the page, where the worker can't. @type {Comparison | null} */ #here = null;
  #waits = false;

  /** @param {HTMLVideoElement} video @param {(changes: Change[]) => void} changed */
  constructor(video, changed) {
    this.#video = video;
    this.#changed = changed;
    // Each connection has a track of its own.
    video.addEventListener('loadedmetadata', () => this.#start());
  }

  /** @param {Place[]} places */
  set(places) {
    this.#places = places;
    if (places.length > 0) this.#start();
    this.#send({ places });
    this.#here?.set(places);
    this.#watch();
  }

  /** Reports again what is alike. */
  reset() {
    this.#send({ reset: true });
    this.#here?.reset();
  }

  /** @param {ToComparer} message @param {Transferable[]} [transferred] */
  #send(message, transferred = []) {
    this.#worker?.postMessage(message, transferred);
  }

  #start() {
    const { srcObject } = this.#video;
    const [track = null] = srcObject instanceof MediaStream ? srcObject.getVideoTracks() : [];
    if (!track || track === this.#track || this.#here) return;
    this.#track = track;
    const Processor = /** @type {{MediaStreamTrackProcessor?: TrackProcessor}} */ (globalThis).MediaStreamTrackProcessor;
    if (!Processor) return this.#fallBack();
    if (!this.#worker) {
      this.#worker = new Worker('/page/compare-worker.js', { type: 'module' });
      this.#worker.addEventListener('message', ({ data }) => {
        const message = /** @type {FromComparer} */ (data);
        if ('changes' in message) this.#changed(message.changes);
        else this.#fallBack();
      });
      this.#worker.addEventListener('error', () => this.#fallBack());
    }
    try {
      const { readable } = new Processor({ track });
      this.#send({ frames: readable }, [readable]);
      this.#send({ places: this.#places });
    } catch {
      this.#fallBack();
    }
  }

  #fallBack() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#here = new Comparison();
    this.#here.set(this.#places);
    this.#watch();
  }

  #watch() {
    const here = this.#here;
    if (!here || here.isEmpty || this.#waits || !('requestVideoFrameCallback' in this.#video)) return;
    this.#waits = true;
    this.#video.requestVideoFrameCallback(async (now) => {
      const began = performance.now();
      const changes = await here.look((places) => lumaOf(this.#video, places), now).catch(() => null);
      if (changes && changes.length > 0) this.#changed(changes);
      const rest = Math.max(SELDOM, (performance.now() - began) / SHARE);
      setTimeout(() => {
        this.#waits = false;
        this.#watch();
      }, rest);
    });
  }
}
