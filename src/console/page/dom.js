// Text of findings comes from a screen or a model: it is only inserted as text
// nodes.

/** @import {Child, Evidence, Severity} from './types' */

/**
 * @param {string} name
 * @param {Record<string, unknown>} [props]
 * @param {...Child} children
 */
export function el(name, props = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (key === 'class') made.className = String(value);
    else if (key.startsWith('data-') || key.startsWith('aria-') || key === 'role') made.setAttribute(key, String(value));
    else Object.assign(made, { [key]: value });
  }
  fill(made, ...children);
  return made;
}

const SVG = 'http://www.w3.org/2000/svg';

/** Element of a drawing. @param {string} name @param {Record<string, string | number>} props @param {...(Node | string)} children */
export function svg(name, props, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(props)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/** Replaces the children of an element. @param {Element} where @param {...Child} children */
export function fill(where, ...children) {
  where.replaceChildren(...children.filter((child) => child != null && child !== false));
}

/** @param {string} id */
export function at(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no #${id}`);
  return found;
}

/** Value of a form field. @param {string} id @param {string} name */
export const given = (id, name) => String(new FormData(/** @type {HTMLFormElement} */ (at(id))).get(name) ?? '');

/** @param {unknown} error */
export const words = (error) => (error instanceof Error ? error.message : String(error));

/** Text of a screen or a model, isolated for bidirectional text. @param {string} text @param {string} [name] */
export const foreign = (text, name = 'span') => el(name, { dir: 'auto', class: 'foreign' }, text);

/** Elements that can take the focus. @param {Element} where */
const stops = (where) => [...where.querySelectorAll('a, button, input, select, summary')];

/** Changes the content of an element and keeps the focus in it. @param {Element} where @param {() => Element} change Returns the new element. */
export function keeping(where, change) {
  const place = stops(where).findIndex((one) => one === document.activeElement);
  const now = change();
  if (place >= 0) /** @type {HTMLElement | undefined} */ (stops(now)[place])?.focus({ preventScroll: true });
}

/** Replaces the children as `fill` does, and keeps the focus. @param {Element} where @param {...Child} children */
export function refill(where, ...children) {
  keeping(where, () => {
    fill(where, ...children);
    return where;
  });
}

/** Severities, the worst last. @type {Severity[]} */
export const SEVERITIES = ['info', 'low', 'medium', 'high', 'critical'];

/** @param {Severity} severity */
export const mark = (severity) => el('span', { class: 'severity', 'data-severity': severity }, severity);

/** Quotes, marked where not found on the screen. @param {Evidence[]} evidence */
export function quotes(evidence) {
  return evidence.filter(({ quote }) => quote).map(({ quote, grounded }) => el(
    'p',
    { class: 'quote' },
    quoted(quote, grounded),
  ));
}

/** Badge of what was not found on the screen. @param {string} [text] */
export const unfounded = (text = 'not on screen') => el('em', { class: 'unfounded' }, text);

/** Quote, struck and marked where it was not found on the screen. @param {string} quote @param {boolean | null | undefined} grounded */
export function quoted(quote, grounded) {
  if (grounded !== false) return foreign(quote, 'q');
  return el('span', { class: 'invented' }, el('s', {}, foreign(quote, 'q')), ' ', unfounded());
}

/** Box of the evidence on a picture, in thousandths. @param {HTMLElement} box @param {number[]} bounds */
export function place(box, [top, left, bottom, right]) {
  box.style.top = `${top / 10}%`;
  box.style.left = `${left / 10}%`;
  box.style.height = `${(bottom - top) / 10}%`;
  box.style.width = `${(right - left) / 10}%`;
}

/** Text escaped for Markdown. @param {unknown} text */
export const plain = (text) => String(text).replace(/[\\`*_{}[\]<>()#+\-.!|~]/g, '\\$&').replace(/\s+/g, ' ');

/** Offers a text as a file download. @param {string} name @param {string} type @param {string} text */
export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el('a', { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

/** Link to an incident. @param {string} id @param {string} title */
export const toIncident = (id, title) => el('a', { href: `/?view=incidents&incident=${id}`, dir: 'auto', class: 'foreign' }, title);

/** Delay in ms within which changes are drawn together. */
const TOGETHER = 40;

/** Wraps a draw function: calls within the delay are drawn once. @param {() => void} draw @param {number} [delay] */
export function soon(draw, delay = TOGETHER) {
  let waits = false;
  return () => {
    if (waits) return;
    waits = true;
    // Animation frames are not delivered while the page is in the background.
    setTimeout(() => {
      waits = false;
      draw();
    }, delay);
  };
}

/** Pointers that press something that takes a click, and what waits for them. */
const down = new Set();
/** @type {(() => void)[]} */
let waiting = [];

/** @param {number[]} ids */
function lift(ids) {
  ids.forEach((id) => down.delete(id));
  // The click comes after the pointer is up.
  setTimeout(() => {
    if (down.size > 0) return;
    const all = waiting;
    waiting = [];
    all.forEach((then) => then());
  });
}

// Not on a scroll bar, during whose drag rows are drawn.
addEventListener('pointerdown', ({ pointerId, target }) => {
  if (target instanceof Element && target.closest('button, a, input, label, summary')) down.add(pointerId);
}, { capture: true });
addEventListener('pointerup', ({ pointerId }) => lift([pointerId]), { capture: true });
addEventListener('pointercancel', ({ pointerId }) => lift([pointerId]), { capture: true });
addEventListener('blur', () => lift([...down]));

/**
 * Settles while nothing is pressed: what is replaced between press and release
 * loses its click.
 * @returns {Promise<void>}
 */
export function released() {
  if (down.size === 0) return Promise.resolve();
  return new Promise((resolve) => { waiting.push(resolve); });
}

/** True while something is pressed. */
export const isPressed = () => down.size > 0;
