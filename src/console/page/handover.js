// Shift report: open incidents, actions and their users, monitoring gaps, cost
// of models.

import { ask } from './api.js';
import { at, el, fill, mark, plain, save, toIncident, words } from './dom.js';
import { counted, full, inUtc, inZone, number, usd, utc } from './format.js';
import { Span } from './span.js';

/** @import {Done, Handover, Incident, List, SpentOn} from './types' */

/** Monitoring gap: its start, and the text around that time. @typedef {{id: string, title: string, lead: string, at: string, after: string}} Blind */
/** @typedef {Omit<Handover, 'more'> & {open: Incident[], opened: Incident[], blind: Blind[], more: string}} Report */

/** @type {[number, string][]} */
const LENGTHS = [[1, 'hour'], [4, '4 hours'], [8, '8 hours'], [12, '12 hours'], [24, 'day']];
const span = new Span(at('shift'), LENGTHS, 8, load);
/** @type {Report | null} */
let report = null;

export function prepare() {
  at('print').addEventListener('click', () => print());
  at('save').addEventListener('click', () => report && save('handover.md', 'text/markdown', markdown(report)));
  document.addEventListener('zone', () => report && draw(report));
}

/** @param {URLSearchParams} query */
export function show(query) {
  span.set(query);
  return load();
}

let latest = 0;
async function load() {
  const mine = ++latest;
  report = null;
  const since = span.range.since.toISOString();
  const until = encodeURIComponent(span.range.until.toISOString());
  const within = `since=${encodeURIComponent(since)}&until=${until}`;
  let results;
  try {
    results = await Promise.all([
      /** @type {Promise<List<Incident>>} */ (ask(`/api/incidents?status=new,acknowledged&sort=severity&until=${until}&limit=1000`)),
      /** @type {Promise<List<Incident>>} */ (ask(`/api/incidents?${within}&limit=1000`)),
      /** @type {Promise<Handover>} */ (ask(`/api/handover?${within}`)),
    ]);
  } catch (error) {
    if (mine === latest) fill(at('report'), el('p', { role: 'alert' }, words(error)));
    return;
  }
  // Another range was chosen meanwhile.
  if (mine !== latest) return;
  const [open, seen, shift] = results;
  report = {
    ...shift,
    open: open.items.filter((incident) => !isOwn(incident)),
    opened: seen.items.filter((incident) => incident.first_seen >= since && !isOwn(incident)),
    done: shift.done.filter(({ by }) => by !== OWN),
    blind: blindSpots(open.items, seen.items, shift),
    more: [open.next && 'open incidents', seen.next && 'incidents in this period', shift.more && 'actions and notes']
      .filter(Boolean).join(', '),
  };
  draw(report);
}

/** Name under which the server reports its own monitoring gaps. */
const OWN = 'Watchtower';
/** @param {Incident} incident */
const isOwn = ({ agents, category }) => category === 'availability' && agents.length === 1 && agents[0] === OWN;

/**
 * Monitoring gaps. The server opens an incident at the start of a gap, and
 * closes it with its start and end; a later gap of the same kind reopens it.
 * @param {Incident[]} open @param {Incident[]} seen @param {Handover} shift
 * @returns {Blind[]}
 */
function blindSpots(open, seen, { done, until }) {
  const lasting = open.filter((incident) => isOwn(incident) && incident.last_seen < until);
  const over = done.filter(({ by, status }) => by === OWN && status === 'closed');
  const listed = new Set([...lasting.map(({ id }) => id), ...over.map(({ incident }) => incident)]);
  const later = seen.filter((incident) => isOwn(incident) && !listed.has(incident.id));
  return [
    ...lasting.map(({ id, title, last_seen }) => ({ id, title, lead: 'ongoing since ', at: last_seen, after: '' })),
    ...over.map(({ incident, title, text }) => ({ id: incident, title, lead: text, at: '', after: '' })),
    ...later.map(({ id, title, first_seen }) => ({ id, title, lead: 'since ', at: first_seen, after: ', resolved later' })),
  ];
}

const DID = { new: 'reopened', acknowledged: 'acknowledged', closed: 'closed' };
/** @param {Done} done */
const deed = ({ status, text }) => (status ? `${DID[status]}${text ? `: ${text}` : ''}` : `added note: ${text}`);
/** @param {HTMLElement[]} rows @param {string} empty */
const none = (rows, empty) => (rows.length ? rows : [el('li', { class: 'quiet' }, empty)]);
/** @param {SpentOn} spent */
const cost = ({ provider, model, requests, prompt_tokens, output_tokens, micro_usd }) => (
  `${provider} ${model}: ${counted(requests, 'request')}, ${number(prompt_tokens)} + ${number(output_tokens)} tokens, ${usd(micro_usd)}`);

/** @param {Report} report */
function draw({ since, until, open, opened, blind, done, spent, more }) {
  fill(
    at('report'),
    el('h2', {}, 'Handover'),
    el('p', {}, full(since), ' to ', full(until), '.', more && ` Showing first 1,000: ${more}.`),
    el('h3', {}, `Open (${number(open.length)})`),
    el('ol', {}, ...none(open.map((incident) => el('li', {}, mark(incident.severity), ' ', toIncident(incident.id, incident.title),
      ` ${incident.status}, ${number(incident.count)}×, since `, full(incident.first_seen))), 'No open incidents')),
    el('h3', {}, `New this shift (${number(opened.length)})`),
    el('ol', {}, ...none(opened.map((incident) => el('li', {}, mark(incident.severity), ' ', toIncident(incident.id, incident.title),
      ` ${incident.status}, `, full(incident.first_seen))), 'No new incidents')),
    el('h3', {}, `Actions and notes (${number(done.length)})`),
    el('ol', {}, ...none(done.map((one) => el('li', {}, full(one.at), ' ', el('b', {}, one.by), ' ', inZone(deed(one)), ' — ',
      toIncident(one.incident, one.title))), 'No actions')),
    el('h3', {}, 'Monitoring gaps'),
    el('ol', {}, ...none(blind.map(({ id, title, lead, at: when, after }) => el('li', {},
      toIncident(id, title), ' ', inZone(lead), when && full(when), after)), 'None')),
    el('h3', {}, 'LLM cost'),
    el('ol', {}, ...none(spent.map((one) => el('li', {}, cost(one))), 'None')),
  );
}

/** @param {Report} report */
function markdown({ since, until, open, opened, blind, done, spent, more }) {
  /** @param {string[]} rows @param {string} empty */
  const list = (rows, empty) => (rows.length ? rows.map((row) => `- ${row}`) : [empty]);
  /** @param {Incident} incident */
  const summary = (incident) => `${incident.severity}: ${plain(incident.title)} (${incident.status}, ${number(incident.count)}×, since ${utc(incident.first_seen)}, ${incident.id})`;
  return [
    '# Handover', '', `${utc(since)} to ${utc(until)}.${more && ` Showing first 1,000: ${more}.`}`, '',
    '## Open', '', ...list(open.map(summary), 'No open incidents'), '',
    '## New this shift', '', ...list(opened.map(summary), 'No new incidents'), '',
    '## Actions and notes', '', ...list(done.map((one) => `${utc(one.at)} ${plain(one.by)} ${plain(inUtc(deed(one)))} (${plain(one.title)})`), 'No actions'), '',
    '## Monitoring gaps', '', ...list(blind.map(({ id, title, lead, at: when, after }) => `${plain(title)} ${plain(`${inUtc(lead)}${when && utc(when)}${after}`)} (${id})`), 'None'), '',
    '## LLM cost', '', ...list(spent.map((one) => plain(cost(one))), 'None'), '',
  ].join('\n');
}
