// Incident as Markdown. Text of a screen is escaped.

import { plain } from './dom.js';
import { counted, inUtc, number, usd, utc } from './format.js';
import { SAYS, isSilent } from './opinions.js';
import { settledBy } from './settled.js';

/** @import {Dossier} from './types' */

/** @type {Record<string, string>} */
export const MOMENTS = { first: 'First', worst: 'Peak' };

/** @param {Dossier} incident */
export function markdown(incident) {
  const { findings, stills, opinions, verdict, notes, decisions, cost } = incident;
  const quoted = findings.items.flatMap(({ evidence }) => evidence.filter(({ quote }) => quote)
    .map(({ quote, grounded }) => (grounded === false ? `- ~~"${plain(quote)}"~~ (not on screen)` : `- "${plain(quote)}"`)));
  const [newest] = findings.items;
  const spoken = opinions.filter((one) => !isSilent(one));
  const lines = [
    `# ${plain(incident.title)}`, '',
    `- id: ${incident.id}`, `- severity: ${settledBy(incident) || incident.severity}`, `- status: ${incident.status}`,
    `- stream: ${plain(incident.stream)}`, `- first seen: ${utc(incident.first_seen)}`, `- last seen: ${utc(incident.last_seen)}`,
    `- findings: ${number(incident.count)}, by ${incident.agents.map(plain).join(', ')}`,
    `- models: ${counted(cost.requests, 'request')}, ${number(cost.prompt_tokens)} + ${number(cost.output_tokens)} tokens, ${usd(cost.micro_usd)}`, '',
    ...(newest ? ['## Summary', '', plain(inUtc(newest.detail)), '', `Recommended action: ${plain(newest.recommended_action)}`, ''] : []),
    '## Evidence', '', ...stills.map(({ moment, seen_at, sha256 }) => `- ${MOMENTS[moment] ?? moment}, ${utc(seen_at)}, SHA-256 ${sha256}`),
    ...new Set(quoted), '',
    '## Analyst opinions', '', ...spoken.map(({ agent, stance, text }) => `- ${plain(agent)} ${SAYS[stance]}: ${plain(text)}`),
    ...(opinions.length > spoken.length ? [`- ${counted(opinions.length - spoken.length, 'analyst')} had nothing to add`] : []),
    ...(verdict ? [`- ${plain(verdict.by)}: ${verdict.severity}, ${plain(verdict.text)}`] : []), '',
    '## Notes', '', ...notes.map(({ at, by, text }) => `- ${utc(at)} ${plain(by)}: ${plain(text)}`), '',
    '## Decisions', '', ...decisions.map(({ at, by, status, why }) => `- ${utc(at)} ${plain(by)}: ${status} ${plain(inUtc(why))}`), '',
  ];
  return lines.join('\n');
}
