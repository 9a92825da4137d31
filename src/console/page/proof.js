// Pictures of an incident's evidence, with what was found on them.

import { el } from './dom.js';
import { clock, full } from './format.js';
import { MOMENTS } from './report.js';
import { enlargeable } from './viewer.js';

/** @import {Dossier, Evidence, ProofStill, Severity} from './types' */
/** @import {Mark} from './viewer.js' */

/** The picture that makes the severity first. @param {Dossier} incident */
export function proofs(incident) {
  const { stills } = incident;
  const worst = stills.find(({ moment }) => moment === 'worst') ?? stills[0];
  if (!worst) return [];
  const others = stills.filter(({ sha256 }) => sha256 !== worst.sha256);
  const same = stills.some((still) => still !== worst && still.sha256 === worst.sha256);
  return [figure(worst, same ? 'First / peak' : MOMENTS[worst.moment], incident), ...others.map((still) => figure(still, MOMENTS[still.moment], incident))];
}

/** @param {ProofStill} still @param {string} name @param {Dossier} incident */
function figure(still, name, incident) {
  const { url, seen_at, sha256 } = still;
  const alt = `Screenshot: ${name}, ${full(seen_at)}`;
  return el('figure', { class: 'proof' },
    enlargeable({ url, seen_at, sha256, stream: incident.stream }, alt, marks(still, incident)),
    el('figcaption', { class: 'quiet' }, `${name}, `, clock(seen_at), el('code', { title: 'SHA-256 of the image' }, ` ${sha256}`)));
}

/**
 * Evidence of all findings on a picture: strong that of the finding it was
 * stored for, the peak one before the first.
 * @param {ProofStill} still
 * @param {Dossier} incident
 */
function marks({ sha256, finding }, { stills, findings }) {
  /** @type {Map<string, Mark>} */
  const all = new Map();
  /** @param {Evidence[]} evidence @param {Severity} severity @param {boolean} strong */
  const add = (evidence, severity, strong) => {
    for (const { box, grounded } of evidence) {
      if (!box || grounded === false) continue;
      const place = box.join(' ');
      if (strong || !all.has(place)) all.set(place, { bounds: box, severity, strong });
    }
  };
  for (const one of findings.items) if (one.frame.sha256 === sha256) add(one.evidence, one.severity, false);
  for (const one of stills) if (one.sha256 === sha256) add(one.evidence, one.severity, one.finding === finding);
  return [...all.values()];
}
