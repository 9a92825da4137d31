// Virtual list: only visible rows are in the DOM.
//
// Rows have one height (`--row` of the list), so that the cost depends on the
// visible rows only.

import { isPressed, keeping, released } from './dom.js';

/** Rows drawn above and below the visible ones. */
const AHEAD = 8;
/** Time in ms that new rows may take of a frame with style, layout and paint, so that a task stays well under 50. */
const BUDGET = 12;
/** Most rows of a frame, whatever they took before. */
const MOST = 60;
/** Part of the newest frame in what a row is taken to cost: one frame alone may have been held up by something else. */
const NEWEST = 0.3;

/** @template {{id: string}} T */
export class Rows {
  #scroller;
  #list;
  #render;
  #near;
  /** @type {T[]} */ #items = [];
  /** @type {Map<string, {item: T, row: HTMLElement}>} */ #drawn = new Map();
  #height = 50;
  /** Height that the list was given, in pixels. */
  #length = -1;
  #waits = false;
  /** Time in ms that a row takes, all in all, on this machine and at this moment. */
  #cost = 1;
  /** Messages arrive after the frame in which they are sent is painted. */
  #painted = new MessageChannel();

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} list
   * @param {(item: T, before?: HTMLElement) => HTMLElement} render Makes a row, perhaps in place of one before.
   * @param {() => void} near Called when the end of the list is near.
   */
  constructor(scroller, list, render, near) {
    this.#scroller = scroller;
    this.#list = list;
    this.#render = render;
    this.#near = near;
    scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    this.#painted.port1.onmessage = ({ data }) => this.#learn(data);
    new ResizeObserver(() => {
      this.#measure();
      this.draw();
    }).observe(scroller);
  }

  get items() { return this.#items; }

  /** @param {T[]} items */
  show(items) {
    this.#items = items;
    this.#measure();
    this.#draw();
  }

  /** Draws at the next animation frame, once for all calls. */
  draw() {
    if (this.#waits) return;
    this.#waits = true;
    requestAnimationFrame(async () => {
      await released();
      this.#waits = false;
      const began = performance.now();
      const made = this.#draw();
      if (made > 0) this.#painted.port2.postMessage({ began, made });
    });
  }

  /** Learns what the rows of a frame have cost. @param {{began: number, made: number}} frame */
  #learn({ began, made }) {
    const cost = (performance.now() - began) / made;
    this.#cost += NEWEST * (Math.min(cost, BUDGET) - this.#cost);
  }

  /** Updates an item in place. @param {T} item */
  change(item) {
    const place = this.#items.findIndex(({ id }) => id === item.id);
    if (place < 0) return;
    this.#items[place] = item;
    this.draw();
  }

  /** Redraws a row even if its item is unchanged. @param {string} id */
  touch(id) {
    if (isPressed()) {
      released().then(() => this.touch(id));
      return;
    }
    const drawn = this.#drawn.get(id);
    if (!drawn) return;
    const row = this.#render(drawn.item, drawn.row);
    exchange(drawn.row, row);
    drawn.row = row;
    this.#put(row, this.#items.findIndex((item) => item.id === id));
  }

  /** @param {number} place */
  reveal(place) {
    const [top, bottom] = [place * this.#height, (place + 1) * this.#height];
    const { scrollTop, clientHeight } = this.#scroller;
    if (top < scrollTop) this.#scroller.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.#scroller.scrollTop = bottom - clientHeight;
    this.#draw(place);
  }

  /** Height of a row, which depends on the width of the page and on pictures: not read while scrolling, where it would cost a layout. */
  #measure() {
    // Registered as a length, so that it is in pixels.
    this.#height = Math.max(1, parseFloat(getComputedStyle(this.#list).getPropertyValue('--row')));
  }

  /** Draws the rows in sight; the number of those that were made. @param {number} [wanted] Row that is drawn first. */
  #draw(wanted = -1) {
    const length = this.#items.length * this.#height;
    if (length !== this.#length) this.#list.style.height = `${length}px`;
    this.#length = length;
    const { scrollTop, clientHeight } = this.#scroller;
    const [top, bottom] = [Math.floor(scrollTop / this.#height), Math.ceil((scrollTop + clientHeight) / this.#height)];
    const first = Math.max(0, top - AHEAD);
    const last = Math.min(this.#items.length, bottom + AHEAD);
    const places = Array.from({ length: Math.max(0, last - first) }, (_, nth) => first + nth);
    const isSeen = (/** @type {number} */ place) => place >= top && place < bottom;
    // Those that are seen come first, and of them the one that is wanted.
    const made = this.#renderSome([wanted, ...places.filter(isSeen), ...places.filter((place) => !isSeen(place))].filter((place) => place >= first && place < last));
    const seen = new Set();
    /** @type {Element | null} */ let before = null;
    for (const place of places) {
      const drawn = this.#drawn.get(this.#items[place].id);
      if (!drawn) continue;
      seen.add(this.#items[place].id);
      // In DOM order, for screen readers and the tab key.
      /** @type {ChildNode | null} */ const next = before ? before.nextSibling : this.#list.firstChild;
      if (drawn.row !== next) this.#list.insertBefore(drawn.row, next);
      before = drawn.row;
      this.#put(drawn.row, place);
    }
    for (const [id, { row }] of this.#drawn) {
      if (seen.has(id)) continue;
      row.remove();
      this.#drawn.delete(id);
    }
    if (last >= this.#items.length - 2 * AHEAD) this.#near();
    return made;
  }

  /** Makes rows that are not drawn yet, as far as the time of a frame goes; their number. @param {number[]} places */
  #renderSome(places) {
    const most = Math.min(MOST, Math.max(1, Math.floor(BUDGET / this.#cost)));
    let made = 0;
    for (const place of places) {
      const item = this.#items[place];
      const drawn = this.#drawn.get(item.id);
      if (drawn?.item === item) continue;
      if (made >= most) {
        this.draw();
        break;
      }
      made += 1;
      const row = this.#render(item, drawn?.row);
      if (drawn) exchange(drawn.row, row);
      this.#drawn.set(item.id, { item, row });
    }
    return made;
  }

  /** @param {HTMLElement} row @param {number} place */
  #put(row, place) {
    const [transform, count] = [`translateY(${place * this.#height}px)`, String(this.#items.length)];
    if (row.style.transform !== transform) row.style.transform = transform;
    const at = String(place + 1);
    if (row.getAttribute('aria-posinset') !== at) row.setAttribute('aria-posinset', at);
    if (row.getAttribute('aria-setsize') !== count) row.setAttribute('aria-setsize', count);
  }
}

/** @param {HTMLElement} before @param {HTMLElement} now */
function exchange(before, now) {
  keeping(before, () => {
    before.replaceWith(now);
    return now;
  });
}
