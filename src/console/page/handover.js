// Shift report: open incidents, actions and their users, monitoring gaps, cost
// of models.

import { ask } from './api.js';
import { SEVERITIES, at, el, fill, foreign, plain, save, toIncident, words } from './dom.js';
import { counted, full, inUtc, inZone, modelName, number, usd, utc } from './format.js';
import { settledBy, settledMark, standing } from './settled.js';
import { load as loadSigned, prepare as prepareSigned, signed, signedMarkdown } from './signoff.js';
import { Span } from './span.js';

/** @import {Done, Handover, Incident, List, SpentOn} from './types' */

/** Monitoring gap: its start, and the text around that time. @typedef {{id: string, title: string, lead: string, at: string, after: string}} Blind */
/** @typedef {Omit<Handover, 'more'> & {open: Incident[], opened: Incident[], blind: Blind[], more: string}} Report */

/** @type {[number, string][]} */
const LENGTHS = [[1, 'hour'], [4, '4 hours'], [8, '8 hours'], [12, '12 hours'], [24, 'day']];
const span = new Span(at('shift'), LENGTHS, 8, load);
/** @type {Report | null} */
let report = null;

/** Groups of incidents. @type {Record<string, (incident: Incident) => string>} */
const GROUPS = {
  severity: standing,
  stream: ({ stream }) => stream,
  subject: ({ entities }) => entities[0]?.value ?? 'no subject',
};
const grouping = () => /** @type {HTMLSelectElement} */ (at('grouping')).value;
/** Incidents by group, in the order of their first ones. @param {Incident[]} incidents @returns {[string, Incident[]][]} */
function grouped(incidents) {
  const of = GROUPS[grouping()] ?? GROUPS.severity;
  /** @type {Map<string, Incident[]>} */
  const groups = new Map();
  for (const incident of [...incidents].sort((a, b) => SEVERITIES.indexOf(standing(b)) - SEVERITIES.indexOf(standing(a)))) {
    groups.set(of(incident), [...groups.get(of(incident)) ?? [], incident]);
  }
  return [...groups];
}

/** Address for a file or paper. @param {string} path */
const absolute = (path) => new URL(path, location.origin).href;
/** @param {string} id */
const address = (id) => absolute(`/?view=incidents&incident=${id}`);
/** Evidence of an incident. @param {string} id @param {Report['proofs']} proofs */
const proofOf = (id, proofs) => proofs.find(({ incident }) => incident === id);

export function prepare() {
  at('print').addEventListener('click', () => print());
  at('save').addEventListener('click', () => report && save('handover.md', 'text/markdown', markdown(report)));
  document.addEventListener('zone', () => report && draw(report));
  at('grouping').addEventListener('change', () => report && draw(report));
  prepareSigned(() => span.range, () => report && draw(report));
}

/** @param {URLSearchParams} query */
export async function show(query) {
  span.set(query);
  await Promise.all([load(), loadSigned()]);
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
      /** @type {Promise<List<Incident>>} */ (ask(`/api/incidents?status=new,acknowledged&sort=settled_severity&until=${until}&limit=1000`)),
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
  `${modelName(provider, model)}: ${counted(requests, 'request')}, ${number(prompt_tokens)} + ${number(output_tokens)} tokens, ${usd(micro_usd)}`);

/** Incidents in groups. @param {Incident[]} incidents @param {string} empty @param {Report['proofs']} proofs @returns {HTMLElement[]} */
function list(incidents, empty, proofs) {
  if (incidents.length === 0) return [el('p', { class: 'quiet' }, empty)];
  return grouped(incidents).map(([name, some]) => el('section', { class: 'group' },
    el('h4', {}, foreign(name), ` (${number(some.length)})`),
    el('ol', {}, ...some.map((incident) => {
      const { id, title, stream, status, count, first_seen, owner } = incident;
      const proof = proofOf(id, proofs);
      return el('li', {}, settledMark(incident), ' ', toIncident(id, title),
        ` ${status}, ${number(count)}×, ${stream}, since `, full(first_seen), owner && `, owner ${owner}`,
        proof && ' · ', proof && el('a', { href: proof.url, target: '_blank', title: full(proof.seen_at) }, 'evidence'),
        el('span', { class: 'printed' }, ` ${address(id)}${proof ? ` · evidence ${absolute(proof.url)}` : ''}`));
    }))));
}

/** @param {Report} report */
function draw({ since, until, open, opened, blind, done, spent, more, changes, proofs }) {
  fill(
    at('report'),
    el('h2', {}, 'Handover'),
    el('p', {}, full(since), ' to ', full(until), '.', more && ` Showing first 1,000: ${more}.`),
    signed(since, until),
    el('h3', {}, `Open (${number(open.length)})`),
    ...list(open, 'No open incidents', proofs),
    el('h3', {}, `New this shift (${number(opened.length)})`),
    ...list(opened, 'No new incidents', proofs),
    el('h3', {}, `Actions and notes (${number(done.length)})`),
    el('ol', {}, ...none(done.map((one) => el('li', {}, full(one.at), ' ', el('b', {}, one.by), ' ', inZone(deed(one)), ' — ',
      toIncident(one.incident, one.title))), 'No actions')),
    changes.length > 0 && el('h3', {}, 'Configuration changes'),
    changes.length > 0 && el('ol', {}, ...changes.map((one) => el('li', {}, full(one.at), ' ', el('b', {}, one.by), ` ${one.what}`))),
    el('h3', {}, 'Monitoring gaps'),
    el('ol', {}, ...none(blind.map(({ id, title, lead, at: when, after }) => el('li', {},
      toIncident(id, title), ' ', inZone(lead), when && full(when), after)), 'None')),
    el('h3', {}, 'LLM cost'),
    el('ol', {}, ...none(spent.map((one) => el('li', {}, cost(one))), 'None')),
  );
}

/** @param {Report} report */
function markdown({ since, until, open, opened, blind, done, spent, more, changes, proofs }) {
  /** @param {string[]} rows @param {string} empty */
  const rows = (rows, empty) => (rows.length ? rows.map((row) => `- ${row}`) : [empty]);
  /** @param {Incident} incident */
  const summary = (incident) => {
    const { id, title, status, count, stream, first_seen, owner } = incident;
    const proof = proofOf(id, proofs);
    return `- ${settledBy(incident) || incident.severity}: [${plain(title)}](${address(id)}) (${status}, ${number(count)}×, ${plain(stream)}, since ${utc(first_seen)}${owner ? `, owner ${plain(owner)}` : ''})${proof ? ` [evidence](${absolute(proof.url)})` : ''}`;
  };
  /** @param {Incident[]} incidents @param {string} empty */
  const groups = (incidents, empty) => (incidents.length === 0 ? [empty, ''] : grouped(incidents)
    .flatMap(([name, some]) => [`### ${plain(name)}`, '', ...some.map(summary), '']));
  const signatures = signedMarkdown(since, until);
  return [
    '# Handover', '', `${utc(since)} to ${utc(until)}.${more && ` Showing first 1,000: ${more}.`}`, '',
    ...(signatures.length > 0 ? ['## Sign-off', '', ...signatures, ''] : []),
    '## Open', '', ...groups(open, 'No open incidents'),
    '## New this shift', '', ...groups(opened, 'No new incidents'),
    '## Actions and notes', '', ...rows(done.map((one) => `${utc(one.at)} ${plain(one.by)} ${plain(inUtc(deed(one)))} ([${plain(one.title)}](${address(one.incident)}))`), 'No actions'), '',
    ...(changes.length > 0 ? ['## Configuration changes', '', ...changes.map((one) => `- ${utc(one.at)} ${plain(one.by)} ${plain(one.what)}`), ''] : []),
    '## Monitoring gaps', '', ...rows(blind.map(({ id, title, lead, at: when, after }) => `[${plain(title)}](${address(id)}) ${plain(`${inUtc(lead)}${when && utc(when)}${after}`)}`), 'None'), '',
    '## LLM cost', '', ...rows(spent.map((one) => plain(cost(one))), 'None'), '',
  ].join('\n');
}
