// Analysts' opinions on each other's findings, and the verdict.

import { el, foreign, mark, quotes } from './dom.js';
import { clock } from './format.js';

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
