// Zoom and pan of a picture by wheel, pinch, drag and keys.

const LEAST = 1;
const MOST = 12;
/** Factor of a key or a button. */
const STEP = 1.4;
/** Pan by a key, as a part of the frame. */
const PAN = 0.12;
/** Zoom by a double click. */
const CLOSE = 3;

export class Zoom {
  #frame;
  #content;
  #scale = 1;
  #x = 0;
  #y = 0;
  /** Pressed pointers and their places. @type {Map<number, {x: number, y: number}>} */
  #down = new Map();
  #changed;

  /**
   * @param {HTMLElement} frame Clips the content, and takes pointers and keys.
   * @param {HTMLElement} content
   * @param {(scale: number) => void} [changed]
   */
  constructor(frame, content, changed = () => {}) {
    this.#frame = frame;
    this.#content = content;
    this.#changed = changed;
    frame.addEventListener('wheel', (event) => {
      event.preventDefault();
      // Lines and pages are far larger than pixels.
      const pixels = event.deltaY * [1, 16, 400][event.deltaMode];
      this.#by(Math.exp(-pixels / 300), this.#at(event));
    }, { passive: false });
    frame.addEventListener('pointerdown', (event) => this.#press(event));
    frame.addEventListener('pointermove', (event) => this.#move(event));
    for (const name of /** @type {const} */ (['pointerup', 'pointercancel'])) {
      frame.addEventListener(name, ({ pointerId }) => {
        this.#down.delete(pointerId);
        frame.classList.toggle('dragged', this.#down.size > 0);
      });
    }
    frame.addEventListener('dblclick', (event) => (this.#scale > 1 ? this.fit() : this.#by(CLOSE, this.#at(event))));
    new ResizeObserver(() => this.#draw()).observe(frame);
    this.#draw();
  }

  /** @param {KeyboardEvent} event @returns {boolean} True if it was a key of this. */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { clientWidth: width, clientHeight: height } = this.#frame;
    /** @type {Record<string, () => void>} */
    const keys = {
      '+': () => this.in(), '=': () => this.in(), '-': () => this.out(), 0: () => this.fit(),
      ArrowLeft: () => this.#pan(width * PAN, 0), ArrowRight: () => this.#pan(-width * PAN, 0),
      ArrowUp: () => this.#pan(0, height * PAN), ArrowDown: () => this.#pan(0, -height * PAN),
    };
    if (!Object.hasOwn(keys, event.key)) return false;
    keys[event.key]();
    return true;
  }

  in() { this.#by(STEP, this.#middle()); }

  out() { this.#by(1 / STEP, this.#middle()); }

  /** Shows all of it. */
  fit() {
    [this.#scale, this.#x, this.#y] = [1, 0, 0];
    this.#draw();
  }

  /** Shows a place of the content. @param {number[]} bounds In thousandths: top, left, bottom, right. */
  show([top, left, bottom, right]) {
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.#content;
    const { clientWidth, clientHeight } = this.#frame;
    const [width, height] = [Math.max(1, (right - left) * offsetWidth / 1000), Math.max(1, (bottom - top) * offsetHeight / 1000)];
    // With some of what surrounds it.
    this.#scale = Math.min(MOST, Math.max(LEAST, 0.8 * Math.min(clientWidth / width, clientHeight / height)));
    this.#x = clientWidth / 2 - this.#scale * (offsetLeft + (left + right) / 2000 * offsetWidth);
    this.#y = clientHeight / 2 - this.#scale * (offsetTop + (top + bottom) / 2000 * offsetHeight);
    this.#draw();
  }

  /** Place of a pointer in the frame. @param {MouseEvent} event */
  #at({ clientX, clientY }) {
    const { left, top } = this.#frame.getBoundingClientRect();
    return { x: clientX - left, y: clientY - top };
  }

  #middle() {
    return { x: this.#frame.clientWidth / 2, y: this.#frame.clientHeight / 2 };
  }

  /** Zooms, and keeps what is at a place there. @param {number} factor @param {{x: number, y: number}} place */
  #by(factor, { x, y }) {
    const scale = Math.min(MOST, Math.max(LEAST, this.#scale * factor));
    const by = scale / this.#scale;
    this.#x = x - (x - this.#x) * by;
    this.#y = y - (y - this.#y) * by;
    this.#scale = scale;
    this.#draw();
  }

  /** @param {number} x @param {number} y */
  #pan(x, y) {
    this.#x += x;
    this.#y += y;
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.button !== 0) return;
    this.#down.set(event.pointerId, this.#at(event));
    this.#frame.setPointerCapture(event.pointerId);
    this.#frame.classList.add('dragged');
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.#down.get(event.pointerId);
    if (!before) return;
    const now = this.#at(event);
    const other = [...this.#down].find(([id]) => id !== event.pointerId)?.[1];
    this.#down.set(event.pointerId, now);
    if (!other) return this.#pan(now.x - before.x, now.y - before.y);
    // A pinch: what was between the fingers stays between them.
    /** @param {{x: number, y: number}} one */
    const apart = (one) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
    this.#pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    this.#by(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
  }

  #draw() {
    // None of the frame stays empty that the content could fill.
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.#content;
    this.#x = within(this.#x, this.#frame.clientWidth, offsetLeft * this.#scale, offsetWidth * this.#scale);
    this.#y = within(this.#y, this.#frame.clientHeight, offsetTop * this.#scale, offsetHeight * this.#scale);
    this.#content.style.transformOrigin = `${-offsetLeft}px ${-offsetTop}px`;
    this.#content.style.transform = `translate(${this.#x}px, ${this.#y}px) scale(${this.#scale})`;
    this.#content.style.setProperty('--zoom', String(this.#scale));
    this.#changed(this.#scale);
  }
}

/** Offset at which content covers a frame, or is centred in it. @param {number} offset @param {number} frame @param {number} before @param {number} size */
function within(offset, frame, before, size) {
  if (size <= frame) return (frame - size) / 2 - before;
  return Math.min(-before, Math.max(frame - size - before, offset));
}
