// One incident: what proves it, who says what to it, what was decided.

import { ask } from '/page/api.js';
import { at, clock, el, fill, mark, place, plain, quotes, save } from '/page/dom.js';

const SAYS = { confirm: 'confirms', dispute: 'disputes', add: 'adds', no_view: 'has no view' };

/** Of a case of the panel. @param {any} opinion */
export function opinion({ agent, to, stance, text, severity, confidence, evidence, at: when }) {
  const weight = severity && `, ${severity} (${confidence.toFixed(2)})`;
  return el(
    'li',
    { class: 'opinion', 'data-stance': stance },
    el('header', {}, el('b', {}, agent), ` → ${to} `, el('em', {}, SAYS[stance] ?? stance), weight, ' ', clock(when)),
    el('p', {}, text),
    ...quotes(evidence),
  );
}

/** How the critic has settled it. @param {any} verdict */
export function verdictOf(verdict) {
  return el(
    'li',
    { class: 'verdict' },
    el('header', {}, el('b', {}, verdict.by), ' ', mark(verdict.severity), ` (${verdict.confidence.toFixed(2)}) `, clock(verdict.at)),
    el('p', {}, verdict.text),
    verdict.dissent.length > 0 && el('p', { class: 'dissent' }, `Dissent: ${verdict.dissent.join(', ')}`),
  );
}

/** @param {string} id */
export async function show(id) {
  const article = at('incident');
  article.hidden = false;
  let incident;
  try {
    incident = await ask(`/api/incidents/${encodeURIComponent(id)}`);
  } catch (error) {
    article.replaceChildren(el('p', { role: 'alert' }, /** @type {Error} */ (error).message));
    return;
  }
  const [first] = incident.findings.items;
  const { model } = first ?? {};
  fill(
    article,
    el('header', {}, mark(incident.severity), el('h2', {}, incident.title)),
    el('p', { class: 'quiet' }, `${incident.status} · ${incident.count === 1 ? '1 finding' : `${incident.count} findings`} by ${incident.agents.join(', ')} on ${incident.stream}, `,
      clock(incident.first_seen), ' to ', clock(incident.last_seen)),
    el('p', { class: 'actions' },
      el('button', { onclick: () => save(`${id}.json`, 'application/json', JSON.stringify(incident, null, 2)) }, 'Export JSON'),
      el('button', { onclick: () => save(`${id}.md`, 'text/markdown', markdown(incident)) }, 'Export Markdown')),
    ...once(incident.stills).map((still) => picture(still, incident)),
    (incident.before || incident.after) && el('div', { class: 'around' },
      incident.before && frame('Before', incident.before), incident.after && frame('After', incident.after)),
    first && el('section', {}, el('h3', {}, 'What was seen'), el('p', {}, first.detail), ...quotes(first.evidence)),
    first?.recommended_action && el('p', {}, el('b', {}, 'Do: '), first.recommended_action),
    incident.opinions.length > 0 && el('section', {}, el('h3', {}, 'The panel'),
      el('ol', {}, ...incident.opinions.map(opinion), incident.verdict && verdictOf(incident.verdict))),
    el('section', {}, el('h3', {}, 'Timeline'), el('ol', { class: 'timeline' }, ...timeline(incident))),
    model && el('p', { class: 'quiet' }, `Model: ${model.provider} ${model.name} ${model.version}`),
  );
}

/** The first moment may be the worst. @param {any[]} stills */
function once(stills) {
  const [first, worst] = stills;
  return first && first.sha256 === worst?.sha256 ? [{ ...first, moment: 'first and worst' }] : stills;
}

function picture({ url, moment, seen_at, sha256, finding }, incident) {
  const made = incident.findings.items.find(({ id }) => id === finding);
  const boxes = (made?.evidence ?? []).filter((piece) => piece.box && piece.grounded !== false).map((piece) => {
    const box = el('span', { class: 'box', 'data-severity': incident.severity });
    place(box, piece.box);
    return box;
  });
  return el(
    'figure',
    {},
    el('div', { class: 'picture' }, el('img', { src: url, alt: `the screen at the ${moment} moment`, loading: 'lazy' }), ...boxes),
    el('figcaption', { class: 'quiet' }, `${moment} moment, `, clock(seen_at), el('code', { title: 'SHA-256 of the picture' }, ` ${sha256}`)),
  );
}

/** The screen at another time. @param {string} when @param {any} moment */
function frame(when, { url, seen_at, stream }) {
  return el('figure', {}, el('img', { src: url, alt: `${stream} ${when.toLowerCase()} it`, loading: 'lazy' }),
    el('figcaption', { class: 'quiet' }, `${when}, `, clock(seen_at)));
}

function timeline({ findings, decisions, notes }) {
  const events = [
    ...findings.items.map(({ observed_at, agent, title, severity }) => [observed_at, `${agent}: ${title} (${severity})`]),
    ...decisions.map(({ at: when, by, status, why, false_positive }) => [
      when, `${by}: ${status}${why ? `, ${why}` : ''}${false_positive ? ' (false positive)' : ''}`]),
    ...notes.map(({ at: when, by, text }) => [when, `${by} noted: ${text}`]),
  ];
  events.sort(([a], [b]) => Date.parse(a) - Date.parse(b));
  return events.map(([when, what]) => el('li', {}, clock(when), ' ', what));
}

/** What a report can be made of; text of the screen can't break out of it. */
function markdown(incident) {
  const lines = [
    `# ${plain(incident.title)}`, '',
    `- id: ${incident.id}`, `- severity: ${incident.severity}`, `- status: ${incident.status}`,
    `- stream: ${plain(incident.stream)}`, `- first seen: ${incident.first_seen}`, `- last seen: ${incident.last_seen}`,
    `- findings: ${incident.count}, by ${incident.agents.map(plain).join(', ')}`, '',
    '## Evidence', '', ...incident.stills.map(({ moment, seen_at, sha256 }) => `- ${moment} moment, ${seen_at}, SHA-256 ${sha256}`),
    ...incident.findings.items.flatMap(({ evidence }) => evidence.filter(({ quote }) => quote)
      .map(({ quote, grounded }) => `- "${plain(quote)}"${grounded === false ? ' (not found on the screen)' : ''}`)), '',
    '## Opinions', '', ...incident.opinions.map(({ agent, stance, text }) => `- ${plain(agent)} ${SAYS[stance]}: ${plain(text)}`),
    ...(incident.verdict ? [`- ${plain(incident.verdict.by)}: ${incident.verdict.severity}, ${plain(incident.verdict.text)}`] : []), '',
    '## Notes', '', ...incident.notes.map(({ at: when, by, text }) => `- ${when} ${plain(by)}: ${plain(text)}`), '',
    '## Decisions', '', ...incident.decisions.map(({ at: when, by, status, why }) => `- ${when} ${plain(by)}: ${status} ${plain(why)}`), '',
  ];
  return lines.join('\n');
}
