// Severity of an incident as settled by the panel, with the original beside it.

import { el, mark } from './dom.js';

/** @import {Incident, Severity} from './types' */

/** @typedef {Pick<Incident, 'severity' | 'settled_severity' | 'opinions'>} Settled */

/** Severity of lists: as settled, else the highest found. @param {Settled} incident @returns {Severity} */
export const standing = ({ severity, settled_severity }) => settled_severity ?? severity;

/** Why it differs, such as "critical → high, 3 of 4 dispute"; empty where it does not. @param {Settled} incident */
export function settledBy(incident) {
  const { severity, opinions } = incident;
  const now = standing(incident);
  if (now === severity) return '';
  // The latest of each analyst counts.
  const views = new Map(opinions.filter(({ stance }) => stance !== 'no_view').map(({ agent, stance }) => [agent, stance]));
  const against = [...views.values()].filter((stance) => stance === 'dispute').length;
  return `${severity} → ${now}, ${against > 0 ? `${against} of ${views.size} dispute` : 'by the panel'}`;
}

/** Mark for a list. @param {Settled} incident */
export function settledMark(incident) {
  const why = settledBy(incident);
  if (!why) return mark(incident.severity);
  return el('span', { class: 'settled', title: why }, mark(standing(incident)), ' ', was(incident.severity));
}

/** Original severity, struck. @param {Severity} severity */
const was = (severity) => el('span', { class: 'was' }, el('span', { class: 'unseen' }, 'was '), el('s', {}, severity));

/** Mark for a heading, with the reason. @param {Settled} incident */
export function settledHead(incident) {
  const [, reason] = settledBy(incident).split(', ');
  if (!reason) return mark(incident.severity);
  return el('span', { class: 'settled' }, was(incident.severity), ' → ', mark(standing(incident)), el('span', { class: 'quiet' }, ` ${reason}`));
}
