// Notice of an action that was done, with its undoing.

import { at, el, fill } from './dom.js';
import { keyed } from './actions.js';

/** Time in ms for which an action can be undone here: long enough to read it and reach the button. */
const SHOWN_FOR = 12_000;

/** @type {(() => void) | null} */
let undo = null;
let timer = 0;

/**
 * Shows that something was done.
 * @param {(string | Node)[]} what
 * @param {(() => void) | null} undoing Reverses it; null where that is impossible.
 */
export function done(what, undoing) {
  undo = undoing;
  fill(
    at('toast'),
    el('span', {}, ...what),
    undoing && el('button', { type: 'button', class: 'act', id: 'undo', title: 'Undo (u)', 'aria-keyshortcuts': 'u', onclick: undone }, el('span', {}, 'Undo'), keyed('u')),
    el('button', { type: 'button', class: 'act', 'aria-label': 'Dismiss', title: 'Dismiss', onclick: dismiss }, '✕'),
  );
  at('toast').hidden = false;
  wait();
}

/** Undoes the last action; false without one. */
export function undone() {
  const how = undo;
  dismiss();
  how?.();
  return how !== null;
}

function dismiss() {
  clearTimeout(timer);
  undo = null;
  const inside = at('toast').contains(document.activeElement);
  at('toast').hidden = true;
  fill(at('toast'));
  // Where a list takes keys, they must not go to the page's body only.
  if (inside) at('list').focus({ preventScroll: true });
}

function wait() {
  clearTimeout(timer);
  timer = window.setTimeout(() => {
    // It stays while it is being used.
    if (at('toast').matches(':hover, :focus-within')) wait();
    else dismiss();
  }, SHOWN_FOR);
}
