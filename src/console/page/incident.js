// An incident: evidence, opinions, timeline.

import { actionsOf } from './actions.js';
import { Refused, ask, serverNow } from './api.js';
import { copyButton } from './clipboard.js';
import { compared } from './compare.js';
import { at, el, fill, foreign, quotes, refill, released, save, unfounded, words } from './dom.js';
import { clock, counted, duration, foreignTimed, modelName, number, usd } from './format.js';
import { opinionsOf, verdictOf } from './opinions.js';
import { proofs } from './proof.js';
import { markdown } from './report.js';
import { settledHead } from './settled.js';
import { remove } from './suppressions.js';
import { thumbnail } from './viewer.js';

/** @import {Child, Cost, Dossier, List, Still, Transcript} from './types' */

/** Shortest interval of refreshes in ms. */
const AGAIN = 1000;

let shown = '';
let title = '';
let version = -1;
/** Version of the drawn incident. */
let drawn = '';
let waits = 0;

/** Version of the shown incident, for a decision. @param {string} id */
export const versionOf = (id) => (id === shown && version >= 0 ? version : undefined);

/** Records a change made by this user, so that it is no conflict. @param {string} id @param {number} now */
export function changedTo(id, now) {
  if (id === shown && version >= 0) version = now;
}

/** @param {string} id */
export const titleOf = (id) => (id === shown ? title : '');

const isSeen = () => shown !== '' && !at('incident').hidden && !at('incidents').hidden;

/** True while text is selected, to copy it. */
function isMarked() {
  const selection = getSelection();
  return selection !== null && !selection.isCollapsed && at('incident').contains(selection.anchorNode);
}

/** Handles a change on the server. @param {string} id */
export function refresh(id) {
  if (id !== shown || waits || !isSeen()) return;
  waits = window.setTimeout(() => {
    waits = 0;
    if (isMarked()) refresh(shown);
    else again();
  }, AGAIN);
}

/** Reloads the shown incident. */
export async function again() {
  if (isSeen()) await show(shown);
}

/** @param {string} id */
export async function show(id) {
  const article = at('incident');
  const another = shown !== id;
  shown = id;
  if (another) [version, title, drawn] = [-1, '', ''];
  article.hidden = false;
  /** @type {Dossier} */
  let incident;
  try {
    incident = await ask(`/api/incidents/${encodeURIComponent(id)}`);
  } catch (error) {
    if (shown !== id) return;
    [version, drawn] = [-1, ''];
    fill(article, ...missing(error));
    return;
  }
  await released();
  // Another incident was opened meanwhile.
  if (shown !== id) return;
  ({ version, title } = incident);
  const now = JSON.stringify(incident);
  if (now === drawn) return;
  drawn = now;
  const openTranscripts = article.querySelector('.transcripts');
  refill(article, ...parts(incident, openTranscripts instanceof HTMLDetailsElement && !another ? openTranscripts : null));
  if (another) {
    article.scrollTop = 0;
    // On a phone the page scrolls, not the article.
    scrollTo(0, 0);
  }
}

/** What is shown in the place of an incident. @param {unknown} error @returns {HTMLElement[]} */
function missing(error) {
  const back = el('a', { href: '/?view=incidents', class: 'back' }, '← Incidents');
  if (!(error instanceof Refused) || (error.status !== 404 && error.status !== 400)) return [back, el('p', { role: 'alert' }, words(error))];
  return [back, el('h2', {}, 'Incident not found'),
    el('p', { role: 'alert' }, 'The link is wrong, or the incident was removed when its retention ended. Incidents of other times: set Status to all.')];
}

/** Time shown before and after a moment in History, in ms. */
const AROUND = 5 * 60_000;

/** Link to the moment it began, among the stills of its stream. @param {Dossier} incident */
function toMoment({ first_seen, stream }) {
  const [from, to] = [-AROUND, AROUND].map((by) => new Date(Math.floor((Date.parse(first_seen) + by) / 1000) * 1000).toISOString().replace('.000', ''));
  return el('a', { class: 'moment', href: `/?${new URLSearchParams({ view: 'history', from, to, stream, at: first_seen })}` }, 'Open in History at ', clock(first_seen));
}

/** @param {Dossier} incident @param {HTMLDetailsElement | null} openTranscripts @returns {Child[]} */
function parts(incident, openTranscripts) {
  const { id, opinions, verdict, lesson } = incident;
  const [newest] = incident.findings.items;
  return [
    el('a', { href: '/?view=incidents', class: 'back', title: 'Back to the list (Escape)' }, '← Incidents'),
    el('header', {}, settledHead(incident), foreign(incident.title, 'h2')),
    el('div', { class: 'bar toolbar', role: 'toolbar', 'aria-label': 'Actions' }, ...actionsOf(incident)),
    el('p', { class: 'quiet' }, `${incident.status} · ${counted(incident.count, 'finding')} by ${incident.agents.join(', ')} on ${incident.stream}, `,
      clock(incident.first_seen), ' to ', clock(incident.last_seen),
      incident.owner && ` · owner ${incident.owner}`,
      Date.parse(incident.snoozed_until ?? '') > serverNow() && el('span', { class: 'snoozed' }, ' · snoozed until ', clock(incident.snoozed_until ?? '')),
      incident.grounded === false && unfounded('evidence not on screen')),
    el('p', { class: 'actions' },
      toMoment(incident),
      copyButton('Copy link', () => location.href),
      el('button', { type: 'button', onclick: () => save(`${id}.json`, 'application/json', JSON.stringify(incident, null, 2)) }, 'Export JSON'),
      el('button', { type: 'button', onclick: () => save(`${id}.md`, 'text/markdown', markdown(incident)) }, 'Export Markdown')),
    ...proofs(incident),
    newest && el('section', {}, el('h3', {}, 'Summary'), foreignTimed(newest.detail, 'p'), ...quotes(newest.evidence),
      newest.mitre.length > 0 && el('p', { class: 'quiet' }, `ATT&CK ${newest.mitre.join(', ')}`)),
    newest?.recommended_action && el('p', { class: 'action' }, el('b', {}, 'Recommended action: '), foreign(newest.recommended_action)),
    incident.before && incident.after ? compared(incident.before, incident.after) : (incident.before || incident.after) && el('div', { class: 'around' }, around('Before', incident.before), around('After', incident.after)),
    opinions.length > 0 && el('section', {}, el('h3', {}, 'Analyst opinions'),
      el('ol', {}, ...opinionsOf(opinions), verdict && verdictOf(verdict))),
    el('section', {}, el('h3', {}, 'Timeline'), el('ol', { class: 'timeline' }, ...timeline(incident))),
    lesson && el('p', { class: 'quiet' }, `Suppressed by ${lesson.by}: `, foreign(lesson.why), ' ',
      el('button', { type: 'button', onclick: () => remove(lesson, again) }, 'Remove suppression')),
    newest && el('p', { class: 'quiet' }, `Model: ${modelName(newest.model.provider, newest.model.name, newest.model.version)}`, spent(incident.cost)),
    incident.cost.requests > 0 && (openTranscripts ?? transcripts(id)),
  ];
}

/** @param {Cost} cost */
const spent = (cost) => cost.requests > 0
  && ` · ${counted(cost.requests, 'request')}, ${number(cost.prompt_tokens)} + ${number(cost.output_tokens)} tokens, ${usd(cost.micro_usd)}`;

/** Still of the screen at another time. @param {string} when @param {Still | null | undefined} still */
const around = (when, still) => still && el('figure', {}, thumbnail(still),
  el('figcaption', { class: 'quiet' }, `${when}, `, clock(still.seen_at)));

/** @param {Dossier} incident */
function timeline({ findings, decisions, notes }) {
  /** @type {[string, string][]} */
  const events = [
    ...findings.items.map(({ observed_at, agent, title, severity }) => /** @type {[string, string]} */ ([observed_at, `${agent}: ${title} (${severity})`])),
    ...decisions.map(({ at: when, by, status, why, false_positive }) => /** @type {[string, string]} */ ([
      when, `${by}: ${status}${why ? `, ${why}` : ''}${false_positive ? ' (false positive)' : ''}`])),
    ...notes.map(({ at: when, by, text }) => /** @type {[string, string]} */ ([when, `${by} added note: ${text}`])),
  ];
  events.sort(([a], [b]) => Date.parse(a) - Date.parse(b));
  // The same again and again is one line.
  /** @type {{from: string, to: string, what: string, times: number}[]} */
  const lines = [];
  for (const [when, what] of events) {
    const last = lines.at(-1);
    if (last?.what === what) Object.assign(last, { to: when, times: last.times + 1 });
    else lines.push({ from: when, to: when, what, times: 1 });
  }
  return lines.map(({ from, to, what, times }) => el('li', {}, clock(from), ...(times > 1 ? [' to ', clock(to)] : []), ' ',
    foreignTimed(what), times > 1 && ` ×${number(times)}`));
}

/** Fetched when opened. @param {string} id */
function transcripts(id) {
  const list = el('ol');
  const details = el('details', { class: 'transcripts' }, el('summary', {}, 'Model transcript'), list);
  details.addEventListener('toggle', async () => {
    if (!(/** @type {HTMLDetailsElement} */ (details).open)) return;
    try {
      /** @type {List<Transcript>} */
      const { items } = await ask(`/api/incidents/${id}/transcripts`);
      fill(list, ...(items.length > 0 ? items.map(transcript) : [el('li', { class: 'quiet' }, 'No transcript retained')]));
    } catch (error) {
      fill(list, el('li', { role: 'alert' }, words(error)));
    }
  });
  return details;
}

/** @param {Transcript} item */
function transcript({ agent, purpose, asked_at, took_ms, model, instructions_sha256, question, pictures, answer, cost }) {
  const shown = pictures.map(({ box, width, height, sha256 }) => el('li', {},
    `${box ? `crop ${box.join(' ')}` : 'full frame'}, ${width} × ${height}, `, el('code', { title: 'SHA-256 of the JPEG sent' }, sha256)));
  return el(
    'li',
    {},
    el('p', { class: 'said-by' }, el('b', {}, agent), ` · ${modelName(model.provider, model.name)} · ${purpose === 'look' ? 'scan' : purpose} · `, clock(asked_at),
      ` · latency ${duration(took_ms / 1000)}`, spent(cost)),
    el('p', { class: 'quiet' }, 'System prompt SHA-256: ', el('code', { title: 'The system prompt itself is not retained' }, instructions_sha256)),
    el('h4', {}, 'Prompt'), foreign(question, 'pre'),
    el('h4', {}, 'Images, secrets redacted'), el('ul', {}, ...shown),
    el('h4', {}, 'Response'), foreign(answer, 'pre'),
  );
}
