// Virtual list: only visible rows are in the DOM.
//
// Rows have one height (`--row` of the list), so that the cost depends on the
// visible rows only.

import { isPressed, keeping, released } from './dom.js';

/** Rows drawn above and below the visible ones. */
const AHEAD = 8;

/** @template {{id: string}} T */
export class Rows {
  #scroller;
  #list;
  #render;
  #near;
  /** @type {T[]} */ #items = [];
  /** @type {Map<string, {item: T, row: HTMLElement}>} */ #drawn = new Map();
  #height = 50;
  #waits = false;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} list
   * @param {(item: T) => HTMLElement} render
   * @param {() => void} near Called when the end of the list is near.
   */
  constructor(scroller, list, render, near) {
    this.#scroller = scroller;
    this.#list = list;
    this.#render = render;
    this.#near = near;
    scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(scroller);
  }

  get items() { return this.#items; }

  /** @param {T[]} items */
  show(items) {
    this.#items = items;
    this.#draw();
  }

  /** Draws at the next animation frame, once for all calls. */
  draw() {
    if (this.#waits) return;
    this.#waits = true;
    requestAnimationFrame(async () => {
      await released();
      this.#waits = false;
      this.#draw();
    });
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
    const row = this.#render(drawn.item);
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
    this.#draw();
  }

  #draw() {
    // Registered as a length, so that it is in pixels.
    this.#height = Math.max(1, parseFloat(getComputedStyle(this.#list).getPropertyValue('--row')));
    this.#list.style.height = `${this.#items.length * this.#height}px`;
    const { scrollTop, clientHeight } = this.#scroller;
    const first = Math.max(0, Math.floor(scrollTop / this.#height) - AHEAD);
    const last = Math.min(this.#items.length, Math.ceil((scrollTop + clientHeight) / this.#height) + AHEAD);
    const seen = new Set();
    /** @type {Element | null} */ let before = null;
    for (let place = first; place < last; place += 1) {
      const item = this.#items[place];
      seen.add(item.id);
      let drawn = this.#drawn.get(item.id);
      if (!drawn || drawn.item !== item) {
        const row = this.#render(item);
        if (drawn) exchange(drawn.row, row);
        drawn = { item, row };
        this.#drawn.set(item.id, drawn);
      }
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
  }

  /** @param {HTMLElement} row @param {number} place */
  #put(row, place) {
    row.style.transform = `translateY(${place * this.#height}px)`;
    row.setAttribute('aria-posinset', String(place + 1));
    row.setAttribute('aria-setsize', String(this.#items.length));
  }
}

/** @param {HTMLElement} before @param {HTMLElement} now */
function exchange(before, now) {
  keeping(before, () => {
    before.replaceWith(now);
    return now;
  });
}
