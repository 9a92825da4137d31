// Boxes of evidence over the live picture, each only while its place still
// shows what was seen there: findings arrive seconds after their frame.

import { serverNow } from './api.js';
import { Comparer } from './comparer.js';
import { el, place } from './dom.js';
import { hasPlaces, regionsOf } from './regions.js';
import { freed, titled } from './titles.js';

/** @import {Change, Place} from './comparison.js' */
/** @import {Title} from './titles.js' */
/** @import {Finding, Region} from './types' */

/** Time in ms that a box is drawn in all. */
const SHOWN_FOR = 12_000;
/** Age in ms of evidence from which it is not looked for any more. */
const FRESH = 60_000;
/** Maximum places looked at. */
const MOST = 24;
/** Interval in ms at which old ones are removed. */
const OFTEN = 500;

/**
 * @typedef {object} Marked
 * @property {Finding} finding
 * @property {number[]} bounds
 * @property {Place} place
 * @property {HTMLElement | null} box
 * @property {Title | null} title Of the first box of a finding.
 * @property {number} since Time at which it was drawn.
 * @property {number} left Time in ms that it may still be drawn.
 */

export class Boxes {
  #layer;
  #video;
  #comparer;
  #stream = '';
  #next = 0;
  /** By the id of their places, newest last. @type {Map<number, Marked>} */ #all = new Map();

  /** @param {HTMLElement} layer @param {HTMLVideoElement} video */
  constructor(layer, video) {
    this.#layer = layer;
    this.#video = video;
    this.#comparer = new Comparer(video, (changes) => this.#changed(changes));
    video.addEventListener('resize', () => {
      this.#hide();
      this.#fit();
    });
    // Another connection: what it shows is not known yet.
    video.addEventListener('emptied', () => this.#hide());
    document.addEventListener('visibilitychange', () => this.#hide());
    new ResizeObserver(() => this.#fit()).observe(video);
    setInterval(() => this.#expire(), OFTEN);
  }

  /** Sets the stream that is played. @param {string} name */
  set stream(name) {
    if (name !== this.#stream) this.clear();
    this.#stream = name;
  }

  /** Removes all boxes, when the signal is lost. */
  clear() {
    this.#hide();
    this.#keep(new Map());
  }

  /** @param {Finding} finding */
  async show(finding) {
    const isFresh = () => finding.stream === this.#stream && serverNow() - Date.parse(finding.observed_at) < FRESH;
    if (!isFresh() || !hasPlaces(finding)) return;
    const { items } = await regionsOf(finding).catch(() => ({ items: [] }));
    if (!isFresh() || items.length === 0) return;
    const all = new Map(this.#all);
    for (const item of items) this.#add(all, finding, item);
    this.#keep(all);
  }

  /** @param {Map<number, Marked>} all @param {Finding} finding @param {Region} region */
  #add(all, finding, { box: bounds, area, columns, luma }) {
    // A repeat replaces what it repeats.
    for (const [id, one] of all) {
      if (one.finding.incident === finding.incident && one.bounds.join() === bounds.join()) all.delete(id);
    }
    const id = this.#next++;
    const seen = Uint8Array.from(luma.match(/../g) ?? [], (pair) => parseInt(pair, 16));
    all.set(id, { finding, bounds, place: { id, area, columns, rows: seen.length / columns, seen }, box: null, title: null, since: 0, left: SHOWN_FOR });
  }

  /** Keeps these and removes the others. @param {Map<number, Marked>} all */
  #keep(all) {
    const kept = new Map([...all].slice(-MOST));
    if (kept.size === this.#all.size && [...kept.keys()].every((id) => this.#all.has(id))) return;
    for (const [id, { box }] of this.#all) if (!kept.has(id)) box?.remove();
    this.#all = kept;
    this.#label();
    this.#compare();
  }

  /** Compares the boxes that are kept, and the places of titles. */
  #compare() {
    this.#comparer.set([...this.#all.values()].flatMap(({ place, title }) => [place, ...(title?.strips ?? []).map((strip) => strip.place)]));
  }

  #expire() {
    const [now, oldest] = [performance.now(), serverNow() - FRESH];
    this.#keep(new Map([...this.#all].filter(([, { finding, box, left, since }]) => (
      Date.parse(finding.observed_at) >= oldest && left > (box ? now - since : 0)))));
  }

  /** Removes the boxes; they are drawn again where they are seen. */
  #hide() {
    this.#changed([...this.#all.keys()].map((id) => ({ id, alike: false })));
    this.#comparer.reset();
  }

  /** @param {Change[]} changes */
  #changed(changes) {
    const now = performance.now();
    for (const { id, alike } of changes) {
      const one = this.#all.get(id);
      if (!one) this.#free(id, alike);
      if (!one || alike === (one.box !== null)) continue;
      if (alike) {
        one.since = now;
        this.#draw(one);
      } else {
        one.left -= now - one.since;
        one.box?.remove();
        one.box = null;
      }
    }
    if (this.#label()) this.#compare();
  }

  /** A place of a title is blank, or is not any more. @param {number} id @param {boolean} isFree */
  #free(id, isFree) {
    for (const { title } of this.#all.values()) if (title?.strips.some(({ place }) => place.id === id)) freed(title, id, isFree);
  }

  /** @param {Marked} one */
  #draw(one) {
    one.box = el('span', { class: 'box', 'data-severity': one.finding.severity });
    place(one.box, one.bounds);
    this.#layer.append(one.box);
  }

  /** Gives the first box of each finding its title; true if a title has come or gone. */
  #label() {
    const labelled = new Set();
    let changed = false;
    for (const one of this.#all.values()) {
      const { finding: { id, title }, box, bounds } = one;
      const first = box !== null && !labelled.has(id);
      if (first) labelled.add(id);
      if (first ? one.title?.box === box : one.title === null) continue;
      changed = true;
      one.title = null;
      box?.replaceChildren();
      if (first && box) one.title = titled(box, title, bounds, this.#layer, () => this.#next++);
    }
    return changed;
  }

  /** Aligns the layer with the picture, which may have letterbox bars. */
  #fit() {
    const { videoWidth, videoHeight, clientWidth, clientHeight } = this.#video;
    if (!videoWidth || !clientWidth) return;
    const scale = Math.min(clientWidth / videoWidth, clientHeight / videoHeight);
    const [width, height] = [videoWidth * scale, videoHeight * scale];
    Object.assign(this.#layer.style, {
      left: `${(clientWidth - width) / 2}px`, top: `${(clientHeight - height) / 2}px`, width: `${width}px`, height: `${height}px`,
    });
    // Titles are as large as before, and so is no place for them.
    for (const one of this.#all.values()) one.title = null;
    if (this.#label()) this.#compare();
  }
}
