// What the page of who shares shows: what analysts get, secrets, analysts,
// findings and the quality of what is sent.

import { at, el, fill, foreign, mark } from './dom.js';
import { ago } from './format.js';
import { pauseButton, secretsBar } from './share-front.js';
import { still } from './share-token.js';

/** @import {Quality} from './publisher.js' */
/** @import {ShareSession} from './types' */

const TITLE = document.title;
/** Frame that is painted. */
let painted = 0;
/** Secrets said last; a screen reader repeats what is set again. */
let said = '';

/** @param {string} is @param {string} text */
export function showState(is, text) {
  at('state').dataset.is = is;
  if (at('state').textContent !== text) at('state').textContent = text;
}

/** Covers both pictures while paused. @param {boolean} paused */
export function cover(paused) {
  for (const one of document.querySelectorAll('.covered')) /** @type {HTMLElement} */ (one).hidden = !paused;
  fill(pauseButton, icon(paused ? 'resume' : 'pause'), el('span', {}, paused ? 'Resume' : 'Pause'));
  at('watched').textContent = paused ? 'Viewers and analysts see a card. Nothing is analysed or kept.' : 'Others can see what you share.';
  if (!paused) return;
  at('seen-at').textContent = '';
  warn([]);
}

/** @param {string} name */
function icon(name) {
  const drawn = /** @type {SVGElement} */ (document.createElementNS('http://www.w3.org/2000/svg', 'svg'));
  drawn.setAttribute('class', 'icon');
  drawn.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  drawn.append(use);
  return drawn;
}

/** Warns of secrets that are seen now. @param {ShareSession['secrets']} secrets */
function warn(secrets) {
  /** @type {Map<string, number>} */
  const kinds = new Map();
  for (const { kind } of secrets) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const list = [...kinds].map(([kind, count]) => (count > 1 ? `${kind} (${count})` : kind)).join(', ');
  document.title = list ? `⚠ Secret on screen: ${list}` : TITLE;
  if (list === said) return;
  said = list;
  fill(secretsBar, ...list ? [icon('secret'), el('span', {}, `Secret on screen: ${list}. Viewers can see it; analysts get it painted over.`)] : []);
}

/** @param {ShareSession} session */
export async function show(session) {
  warn(session.secrets);
  fill(at('analysts'), ...session.analysts.map(({ name, last_look, failing }) => el('li', {}, el('b', {}, name),
    failing ? el('span', { class: 'failing' }, 'not responding') : el('span', {}, last_look ? 'last look ' : 'no look yet', last_look && ago(last_look)))));
  if (!session.analysts.length) fill(at('analysts'), el('li', {}, 'None looks at this stream'));
  at('found').hidden = !session.findings;
  const findings = session.findings ?? [];
  fill(at('findings'), ...findings.map(({ severity, title, agent, observed_at }) => el('li', {}, mark(severity), foreign(title), el('span', {}, `${agent}, `, ago(observed_at)))));
  if (!findings.length) fill(at('findings'), el('li', {}, 'None yet'));
  if (session.paused_since) return;
  if (!session.reads_screens) at('seen-at').textContent = 'OCR is off: secrets are not recognised';
  else if (!session.frame) at('seen-at').textContent = session.state ? 'not read yet' : '';
  if (session.frame && session.frame.seq !== painted) await paint(session.frame);
}

/** @param {{seq: number, captured_at: string}} frame */
async function paint({ seq, captured_at }) {
  // Not there any more, or not yet: the next answer says so.
  const picture = await still().then(createImageBitmap).catch(() => null);
  if (!picture) return;
  const canvas = /** @type {HTMLCanvasElement} */ (at('got'));
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext('2d')?.drawImage(picture, 0, 0);
  picture.close();
  canvas.dataset.seq = String(seq);
  painted = seq;
  fill(at('seen-at'), 'from ', ago(captured_at));
}

/** @param {Quality | null} quality */
export function showQuality(quality) {
  if (!quality) return;
  const { codec, width, height, frames, bits, lost, rtt, limited } = quality;
  const parts = [
    codec,
    width && `${width} × ${height}`,
    `${Math.round(frames)} fps`,
    bits >= 1e6 ? `${(bits / 1e6).toFixed(1)} Mb/s` : `${Math.round(bits / 1000)} kb/s`,
    `${(lost * 100).toFixed(lost > 0 ? 1 : 0)} % lost`,
    rtt > 0 && `${Math.round(rtt * 1000)} ms`,
    limited !== 'none' && `limited by ${limited}`,
  ];
  at('quality').textContent = parts.filter(Boolean).join(' · ');
}
