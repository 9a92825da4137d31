// Actions on incidents: one list for keys, buttons, rows and palette.

import { el } from './dom.js';

/** @import {Incident} from './types' */

/** @typedef {{key: string, label: string, fits: (incident: Pick<Incident, 'status'>) => boolean}} Action */

/** In the order of their buttons. @type {Action[]} */
export const ACTIONS = [
  { key: 'a', label: 'Acknowledge', fits: ({ status }) => status === 'new' },
  { key: 'c', label: 'Close', fits: ({ status }) => status !== 'closed' },
  { key: 'f', label: 'False positive', fits: ({ status }) => status !== 'closed' },
  { key: 'r', label: 'Reopen', fits: ({ status }) => status !== 'new' },
  { key: 'i', label: 'Assign', fits: () => true },
  { key: 's', label: 'Snooze', fits: ({ status }) => status !== 'closed' },
  { key: 'n', label: 'Add note', fits: () => true },
];

/** Those of a row, which has room for few. */
const ON_ROWS = ['a', 'c', 'f', 'r'];

/** @type {(key: string, ids?: string[]) => void} */
let perform = () => {};
/** Sets what performs an action: on these incidents, or on the selected ones. @param {typeof perform} how */
export const performedBy = (how) => { perform = how; };

/** Key as shown on a button. @param {string} key */
export const keyed = (key) => el('kbd', { 'aria-hidden': 'true' }, key);

/** @param {Action} action @param {string[]} [ids] */
export const actionButton = ({ key, label }, ids) => el(
  'button',
  { type: 'button', class: 'act', title: `${label} (${key})`, 'aria-keyshortcuts': key, 'data-key': key, onclick: () => perform(key, ids) },
  el('span', {}, label),
  keyed(key),
);

/** Buttons of all actions that fit an incident. @param {Incident} incident */
export const actionsOf = (incident) => ACTIONS.filter(({ fits }) => fits(incident)).map((action) => actionButton(action, [incident.id]));

/** The same for its row. @param {Incident} incident */
export const rowActions = (incident) => ACTIONS.filter(({ key, fits }) => ON_ROWS.includes(key) && fits(incident))
  .map((action) => actionButton(action, [incident.id]));
