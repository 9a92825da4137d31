// Dialog for desktop notifications, sound and Web Push of this browser.

import { ask } from './api.js';
import { at, el, fill, foreign, keeping, SEVERITIES, words } from './dom.js';
import { isAudible, permission, test, want, wanted } from './notifications.js';
import { pushed, pushPermission, subscribe, testPush, unsubscribe } from './push.js';

/** @import {List, Severity, Stream} from './types' */

/** Why desktop notifications are impossible, or what is needed. @type {Record<ReturnType<typeof permission>, string>} */
const STATES = {
  insecure: 'Not available: browsers allow notifications over HTTPS or on localhost only, and this page was opened over plain HTTP. Configure [tls] in watchtower.toml.',
  unsupported: 'Not supported by this browser. On an iPhone or iPad, add the page to the Home Screen first.',
  denied: 'Blocked by the browser. Allow notifications for this address in the browser’s site settings, then reload the page.',
  default: 'The browser will ask for permission.',
  granted: 'Permitted by the browser.',
};

/** The same of Web Push, where it differs. @type {Partial<typeof STATES>} */
const PUSHED = {
  default: 'Also while no page is open, and on phones: sent by the browser’s push service, encrypted. The browser will ask for permission.',
  granted: 'Also while no page is open, and on phones: sent by the browser’s push service, encrypted.',
};

const box = () => /** @type {HTMLDialogElement} */ (at('notifications'));

/** Streams to choose from. @type {string[]} */
let streams = [];
let said = '';

/** @type {() => void} */
let redraw = () => {};
/** @param {() => void} draw Draws what else shows the state. */
export function prepareDialog(draw) {
  redraw = draw;
}

/** State in a few words, for Setup. */
export function summary() {
  const { desktop, sound, severity, streams: some } = wanted();
  const on = [desktop && permission() === 'granted' && 'desktop notifications', sound && 'sound', pushed() && 'Web Push'].filter(Boolean);
  if (desktop && permission() !== 'granted') return STATES[permission()];
  if (on.length === 0) return 'Off in this browser.';
  return `On in this browser: ${on.join(', ')}; ${from(severity)}, ${some.length > 0 ? `of ${some.join(', ')}` : 'all streams'}.`;
}

/** @param {Severity} severity */
const from = (severity) => (severity === 'critical' ? 'critical only' : severity === 'info' ? 'any severity' : `${severity} or worse`);

export async function openNotifications() {
  said = '';
  draw();
  box().showModal();
  try {
    /** @type {List<Stream>} */
    const { items } = await ask('/api/streams');
    streams = items.map(({ name }) => name);
  } catch (error) {
    said = words(error);
  }
  draw();
}

/** @param {Parameters<typeof want>[0]} change */
function changed(change) {
  want(change);
  said = '';
  draw();
  // The server has the filters of a subscription.
  if (pushed() && (change.severity || change.streams)) attempt(subscribe);
}

/** Does what may fail, and says why it did. @param {() => Promise<unknown>} what */
async function attempt(what) {
  try {
    await what();
    said = '';
  } catch (error) {
    said = words(error);
  }
  draw();
}

function ofPush(/** @type {Event} */ { target }) {
  const on = /** @type {HTMLInputElement} */ (target).checked;
  return attempt(async () => {
    if (!on) return unsubscribe();
    if (pushPermission() === 'default') await Notification.requestPermission();
    if (pushPermission() === 'granted') await subscribe();
  });
}

async function ofDesktop(/** @type {Event} */ { target }) {
  const on = /** @type {HTMLInputElement} */ (target).checked;
  if (on && permission() === 'default') await Notification.requestPermission();
  changed({ desktop: on && permission() === 'granted' });
}

/**
 * @param {string} name
 * @param {string} label
 * @param {boolean} checked
 * @param {boolean} disabled
 * @param {string} state
 * @param {(event: Event) => void} onchange
 */
const choice = (name, label, checked, disabled, state, onchange) => [
  el('label', { class: 'checkbox' }, label, el('input', { type: 'checkbox', name, checked, disabled, onchange, 'aria-describedby': `${name}-state` })),
  el('p', { class: 'quiet', id: `${name}-state` }, state),
];

function draw() {
  const { desktop, sound, severity, streams: some } = wanted();
  const [state, pushState] = [permission(), pushPermission()];
  const names = [...new Set([...some, ...streams])].sort();
  const severities = el('select', { name: 'severity', onchange: (/** @type {Event} */ { target }) => changed({ severity: /** @type {Severity} */ (/** @type {HTMLSelectElement} */ (target).value) }) },
    ...[...SEVERITIES].reverse().map((one) => new Option(from(one), one, one === severity, one === severity)));
  const ofStream = (/** @type {string} */ name) => {
    const onchange = (/** @type {Event} */ { target }) => {
      const rest = some.filter((one) => one !== name);
      changed({ streams: /** @type {HTMLInputElement} */ (target).checked ? [...rest, name].sort() : rest });
    };
    return el('label', { class: 'checkbox' }, foreign(name), el('input', { type: 'checkbox', name: `stream ${name}`, checked: some.includes(name), onchange }));
  };
  const audible = sound && !isAudible() ? 'Waits for the first click or key on the page, as browsers require.' : 'Played by one tab.';
  keeping(box(), () => {
    fill(
      box(),
      el('h2', {}, 'Notifications'),
      el('p', { class: 'quiet' }, 'For new incidents, and for those that return or become more severe. Applies to this browser.'),
      ...choice('desktop', 'Desktop notifications', desktop && state === 'granted', state !== 'granted' && state !== 'default', STATES[state], ofDesktop),
      ...choice('push', 'Web Push', Boolean(pushed()), pushState !== 'granted' && pushState !== 'default' && !pushed(), PUSHED[pushState] ?? STATES[pushState], ofPush),
      ...choice('sound', 'Sound', sound, false, audible, ({ target }) => changed({ sound: /** @type {HTMLInputElement} */ (target).checked })),
      el('label', {}, 'Severity', severities),
      el('fieldset', {}, el('legend', {}, 'Streams'),
        el('label', { class: 'checkbox' }, 'All', el('input', { type: 'checkbox', name: 'all', checked: some.length === 0, disabled: some.length === 0, onchange: () => changed({ streams: [] }) })),
        ...names.map(ofStream)),
      el('p', { role: 'status', id: 'notifications-said' }, said),
      el('menu', {},
        el('li', {}, el('button', { type: 'button', id: 'notifications-test', onclick: async () => {
          said = await test();
          draw();
          if (pushed()) {
            const before = said;
            await attempt(testPush);
            said = said ? `Web Push failed: ${said}` : `${before} Web Push sent.`;
            draw();
          }
        } }, 'Test')),
        el('li', {}, el('form', { method: 'dialog' }, el('button', {}, 'Close')))),
    );
    return box();
  });
  redraw();
}
