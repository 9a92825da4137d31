// Controls in a window that stays in front (Document Picture-in-Picture, in
// Chromium): Pause is at hand, and a secret is warned of, while another window
// is shared and in front of the page.

import { at } from './dom.js';

/** Bar of controls; it moves between the page and the window in front. */
export const bar = at('thumb');
const home = bar.parentElement ?? document.body;
/** @param {string} id */
const part = (id) => /** @type {HTMLButtonElement} */ (bar.querySelector(`#${id}`));
export const [pauseButton, stopButton, secretsBar] = ['pause', 'stop', 'secrets'].map(part);
const toggle = part('front');

/** @type {{requestWindow: (size: {width: number, height: number}) => Promise<Window>} | undefined} */
const api = /** @type {any} */ (window).documentPictureInPicture;
/** @type {Window | null} */
let front = null;

toggle.hidden = !api;
toggle.addEventListener('click', async () => {
  if (front) return front.close();
  const opened = await api?.requestWindow({ width: 440, height: 170 }).catch(() => null);
  if (!opened) return;
  front = opened;
  const { body, head, documentElement } = opened.document;
  for (const sheet of document.querySelectorAll('link[rel=stylesheet]')) head.append(sheet.cloneNode());
  documentElement.lang = document.documentElement.lang;
  const { theme } = document.documentElement.dataset;
  if (theme) documentElement.dataset.theme = theme;
  opened.document.title = 'Watchtower: sharing';
  body.className = 'share in-front';
  // Icons of the buttons.
  const icons = document.querySelector('svg[hidden]')?.cloneNode(true);
  body.append(...icons ? [icons] : [], bar);
  name('Back to the page');
  opened.addEventListener('pagehide', () => {
    front = null;
    home.append(bar);
    name('Keep in front');
  });
});

/** @param {string} text */
function name(text) {
  toggle.textContent = text;
}

/** Closes the window, if there is one. */
export const closeFront = () => front?.close();
