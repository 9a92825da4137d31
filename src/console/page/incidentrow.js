// Rows of the incident list: of an incident, of a group, and of what is not
// loaded yet.

import { rowActions } from './actions.js';
import { SEVERITIES, el, foreign, mark, toIncident } from './dom.js';
import { isSnoozed } from './filters.js';
import { ago, clock, counted, number } from './format.js';
import { isSilent } from './opinions.js';
import { settledMark, standing } from './settled.js';

/** @import {Group, Incident} from './types' */

/** @typedef {{id: string, group: Group, key: string, unfolded: boolean}} GroupRow */
/** @typedef {{id: string, more: string, left: number}} MoreRow */
/** @typedef {Incident | GroupRow | MoreRow} ListRow */

/** Kinds of entities in the order in which they are the subject, as on the server. */
const SUBJECTS = ['host', 'user', 'resource', 'ip', 'rule', 'cve'];

/** True for a row of an incident. @param {ListRow} row @returns {row is Incident} */
export const isIncident = (row) => 'severity' in row;

/** Entity it is about; empty without one. @param {Incident} incident */
export function subjectOf({ entities }) {
  for (const kind of SUBJECTS) {
    const found = entities.find((one) => one.kind === kind);
    if (found) return found.value;
  }
  return '';
}

/** Text of a cell, with its column for screen readers. @param {string} name @param {string} label @param {string} text */
const cell = (name, label, text) => el('span', { class: `cell ${name}`, title: text }, text && el('span', { class: 'unseen' }, `${label} `), text && foreign(text));

/** Place of a row's buttons, which only a row that is pointed at or has the focus has: most rows are scrolled by. @param {Element} row */
const actsOf = (row) => row.querySelector('.acts');

/** Gives a row its buttons, if it has none yet. @param {Element} row @param {Incident} incident */
export function equip(row, incident) {
  const acts = actsOf(row);
  if (acts && acts.childElementCount === 0) acts.append(...rowActions(incident));
}

/** True for a row that has its buttons. @param {Element | undefined} row */
export const isEquipped = (row) => (row ? actsOf(row)?.childElementCount ?? 0 : 0) > 0;

/** @param {Incident} incident @param {{selected: boolean, current: boolean, parts: HTMLElement[]}} shown */
export function incidentRow(incident, { selected, current, parts }) {
  const { id, title, status, count, agents, verdict, opinions, grounded, last_seen, owner, stream } = incident;
  const spoken = opinions.filter((one) => !isSilent(one)).length;
  const disagreement = (verdict?.dissent.length ?? 0) > 0;
  const about = [status !== 'new' && status, grounded === false && 'unverified evidence', disagreement && 'disagreement'];
  const link = toIncident(id, title);
  link.title = title;
  link.addEventListener('click', (event) => !event.ctrlKey && !event.metaKey && event.preventDefault());
  const row = el(
    'li',
    { 'data-id': id, 'data-severity': standing(incident), 'data-status': status },
    el('label', { class: 'pick' }, el('input', { type: 'checkbox', title: 'Select (x)', 'aria-label': `Select ${title}`, checked: selected })),
    settledMark(incident),
    ...parts.filter((part) => part.classList.contains('still')),
    el('span', { class: 'naming' }, link,
      el('span', { class: 'quiet about' },
        isSnoozed(incident) && el('span', { class: 'snoozed' }, 'snoozed until ', clock(incident.snoozed_until ?? ''), ' '),
        about.filter(Boolean).join(' · '))),
    cell('subject', 'about', subjectOf(incident)),
    cell('stream', 'stream', stream),
    cell('owner', 'owner', owner ?? ''),
    ago(last_seen),
    el('span', { class: 'cell total', title: counted(count, 'finding') }, `${number(count)}×`),
    ...parts.filter((part) => !part.classList.contains('still')),
    cell('analysts', 'by', agents.join(', ') + (spoken > 0 ? ` +${counted(spoken, 'opinion')}` : '')),
    el('span', { class: 'acts' }),
  );
  if (current) row.setAttribute('aria-current', 'true');
  return row;
}

/** @param {GroupRow} row @param {{current: boolean, by: string}} shown */
export function groupRow({ id, group, unfolded }, { current, by }) {
  const { name, count, by_severity, last_seen } = group;
  const counts = [...SEVERITIES].reverse().filter((severity) => by_severity[severity] > 0);
  const row = el(
    'li',
    { 'data-id': id, class: 'group' },
    el('button', { type: 'button', class: 'fold', 'aria-expanded': String(unfolded) },
      el('span', { class: 'mark', 'aria-hidden': 'true' }, unfolded ? '▾' : '▸'),
      name ? foreign(name, 'b') : el('b', {}, `no ${by}`)),
    el('span', { class: 'sums' }, ...counts.map((severity) => el('span', { class: 'sum' }, mark(severity), ` ${number(by_severity[severity])}`))),
    ago(last_seen),
    el('span', { class: 'cell total' }, counted(count, 'incident')),
  );
  if (current) row.setAttribute('aria-current', 'true');
  return row;
}

/** @param {MoreRow} row @param {boolean} current */
export function moreRow({ id, left }, current) {
  const row = el('li', { 'data-id': id, class: 'group' }, el('button', { type: 'button', class: 'fold' }, `Show ${number(left)} more`));
  if (current) row.setAttribute('aria-current', 'true');
  return row;
}
