// Command palette (Ctrl+K): views, streams, actions and search by typing.
//
// A combobox with a list (ARIA authoring practices): the focus stays in the
// field, the active entry is named by `aria-activedescendant`.

import { at, el, fill } from './dom.js';

/** @typedef {{name: string, key?: string, about?: string, run: () => void}} Command */

/** Entries shown at once. */
const MOST = 12;

const box = () => /** @type {HTMLDialogElement} */ (at('palette'));
const field = () => /** @type {HTMLInputElement} */ (at('command'));

/** @type {(text: string) => Command[]} */
let offered = () => [];
/** @type {Command[]} */
let shown = [];
let active = 0;

/** @param {(text: string) => Command[]} commands Commands for a text, which those that always fit may use. */
export function preparePalette(commands) {
  offered = commands;
  field().addEventListener('input', () => {
    active = 0;
    draw();
  });
  field().addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && shown.length > 0) {
      active = (active + step + shown.length) % shown.length;
      draw();
    } else if (event.key === 'Enter') run(shown[active]);
    else return;
    event.preventDefault();
  });
  // A click outside of its content closes it.
  box().addEventListener('click', (event) => event.target === box() && box().close());
}

export function openPalette() {
  field().value = '';
  active = 0;
  draw();
  box().showModal();
  field().focus();
}

/** @param {Command | undefined} command */
function run(command) {
  if (!command) return;
  box().close();
  command.run();
}

function draw() {
  const text = field().value.trim();
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  shown = offered(text).filter(({ name }) => wanted.every((word) => name.toLowerCase().includes(word))).slice(0, MOST);
  active = Math.min(active, Math.max(0, shown.length - 1));
  fill(at('commandlist'), ...shown.map((command, nth) => el(
    'li',
    { role: 'option', id: `command-${nth}`, 'aria-selected': nth === active, onclick: () => run(command) },
    el('span', { dir: 'auto', class: 'foreign' }, command.name),
    command.key && el('kbd', { 'aria-hidden': 'true' }, command.key),
  )));
  at('nocommand').hidden = shown.length > 0;
  if (shown.length > 0) field().setAttribute('aria-activedescendant', `command-${active}`);
  else field().removeAttribute('aria-activedescendant');
}
