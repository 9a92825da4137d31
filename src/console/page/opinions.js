// Analysts' opinions on each other's findings, and the verdict.

import { el, foreign, mark, quotes } from './dom.js';
import { clock, counted } from './format.js';

/** @import {Judgement, Opinion} from './types' */

/** @type {Record<Opinion['stance'], string>} */
export const SAYS = { confirm: 'confirms', dispute: 'disputes', add: 'adds', no_view: 'no opinion' };

/** @param {Opinion} opinion */
export function opinion({ agent, to, stance, text, severity, confidence, evidence, at: when }) {
  const weight = severity && `, ${severity} (${(confidence ?? 0).toFixed(2)})`;
  return el(
    'li',
    { class: 'opinion', 'data-stance': stance },
    el('p', { class: 'said-by' }, el('b', {}, agent), ` → ${to} `, el('em', {}, SAYS[stance] ?? stance), weight, ' ', clock(when)),
    foreign(text, 'p'),
    ...quotes(evidence),
  );
}

/** Opinions as a list; analysts with nothing to add in one line. @param {Opinion[]} opinions */
export function opinionsOf(opinions) {
  const silent = opinions.filter((one) => isSilent(one));
  const names = silent.map(({ agent }) => agent).join(', ');
  return [
    ...opinions.filter((one) => !isSilent(one)).map(opinion),
    silent.length > 0 && el('li', { class: 'quiet', 'data-stance': 'no_view', title: names }, `${counted(silent.length, 'analyst')} had nothing to add`),
  ];
}

/** True for an answer without an opinion; one that failed is not. @param {Pick<Opinion, 'stance' | 'failed'>} opinion */
export const isSilent = ({ stance, failed }) => stance === 'no_view' && !failed;

/** Renders the reviewer's verdict. @param {Judgement} verdict */
export function verdictOf(verdict) {
  return el(
    'li',
    { class: 'verdict' },
    el('p', { class: 'said-by' }, el('b', {}, verdict.by), ' ', mark(verdict.severity), ` (${verdict.confidence.toFixed(2)}) `, clock(verdict.at)),
    foreign(verdict.text, 'p'),
    verdict.dissent.length > 0 && el('p', { class: 'dissent' }, `Disagree: ${verdict.dissent.join(', ')}`),
  );
}
