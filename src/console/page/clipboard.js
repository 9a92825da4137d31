// Copying to the clipboard, on plain HTTP from another machine too.

import { el } from './dom.js';

/** Copies a text; false where the browser refuses. @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard API is missing on a page over plain HTTP from another
    // machine; the older command is not.
  }
  const field = /** @type {HTMLTextAreaElement} */ (el('textarea', { value: text, readOnly: true, class: 'unseen', 'aria-hidden': 'true' }));
  const before = document.activeElement;
  // Beside the focus: an open dialog makes all else inert.
  (before?.closest('dialog') ?? document.body).append(field);
  field.focus({ preventScroll: true });
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  if (before instanceof HTMLElement) before.focus({ preventScroll: true });
  return done;
}

/**
 * Button that copies a text; where the browser refuses, the text is shown
 * selected, to be copied by hand.
 * @param {string} label
 * @param {() => string} text
 * @param {string} [name] Accessible name where the label says too little.
 */
export function copyButton(label, text, name = label) {
  const button = el('button', { type: 'button', class: 'copy', 'aria-label': name });
  button.textContent = label;
  button.addEventListener('click', async () => {
    if (await copied(text())) {
      button.textContent = 'Copied';
      button.setAttribute('aria-label', `${name}: copied`);
      return;
    }
    const field = /** @type {HTMLInputElement} */ (el('input', { value: text(), readOnly: true, 'aria-label': 'Copy with Ctrl+C' }));
    button.replaceWith(field);
    field.focus();
    field.select();
  });
  return button;
}
