// Web Push: notifications of this browser while no page is open.

import { ask, send, who } from './api.js';
import { at, el, fill, words } from './dom.js';
import { ago } from './format.js';
import { permission, wanted } from './notifications.js';

/** @import {Push, PushSubscribed} from './types' */

/** Id of the subscription of this browser. */
const KEPT = 'watchtower.push';

/** @returns {'insecure' | 'unsupported' | NotificationPermission} */
export function pushPermission() {
  const state = permission();
  if (state === 'insecure') return state;
  return 'serviceWorker' in navigator && 'PushManager' in window ? state : 'unsupported';
}

/** Id of the subscription of this browser; empty without one. */
export const pushed = () => localStorage.getItem(KEPT) ?? '';

/** Bytes of base64url. @param {string} text */
const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0));

/** @param {ArrayBuffer | null | undefined} one @param {Uint8Array} other */
const isSame = (one, other) => one != null && new Uint8Array(one).join() === other.join();

/** Subscribes this browser, or changes its subscription to what is wanted now. */
export async function subscribe() {
  /** @type {Push} */
  const { public_key } = await ask('/api/push');
  if (!public_key) throw new Error('Web Push is off on this server: [push] enabled in watchtower.toml.');
  const key = bytes(public_key);
  await navigator.serviceWorker.register('/service-worker.js');
  const { pushManager } = await navigator.serviceWorker.ready;
  let subscription = await pushManager.getSubscription();
  // Of another server at this address, or of keys that are lost.
  if (subscription && !isSame(subscription.options.applicationServerKey, key)) {
    await subscription.unsubscribe();
    subscription = null;
  }
  subscription ??= await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  const { endpoint, keys } = subscription.toJSON();
  const { severity, streams } = wanted();
  /** @type {PushSubscribed} */
  const { id } = await send('/api/push/subscriptions', {
    endpoint, keys: { p256dh: keys?.p256dh, auth: keys?.auth }, minimum_severity: severity, streams, by: who.name || 'unnamed',
  });
  localStorage.setItem(KEPT, id);
}

export async function unsubscribe() {
  const id = pushed();
  localStorage.removeItem(KEPT);
  const registration = await navigator.serviceWorker.getRegistration();
  const subscription = await registration?.pushManager.getSubscription();
  await subscription?.unsubscribe();
  if (id) await end(id);
}

/** Sends a test to this browser. */
export const testPush = () => ask(`/api/push/subscriptions/${pushed()}/test`, { method: 'POST' });

/** @param {string} id */
async function end(id) {
  // One that the push service has ended is gone already.
  await ask(`/api/push/subscriptions/${id}`, { method: 'DELETE' }).catch((error) => {
    if (!words(error).includes('not found')) throw error;
  });
}

/** Renews the subscription of this browser: its push service may have changed it. @param {(id: string) => void} open Shows an incident. */
export function preparePush(open) {
  if (!('serviceWorker' in navigator)) return;
  navigator.serviceWorker.addEventListener('message', ({ data }) => open(data.incident));
  if (!pushed()) return;
  if (pushPermission() === 'granted') subscribe().catch(() => {});
  else unsubscribe().catch(() => {});
}

/** Lists the subscriptions of all browsers. */
export async function showSubscriptions() {
  /** @type {Push} */
  const { subscriptions } = await ask('/api/push');
  at('subscribed').hidden = subscriptions.length === 0;
  fill(at('subscriptions'), ...subscriptions.map(({ id, sink, service, minimum_severity, streams, by, created_at }) => el('tr', {},
    ...[by, service, sink, minimum_severity, streams.join(', ') || 'all'].map((text) => el('td', {}, el('span', { dir: 'auto', class: 'foreign' }, text))),
    el('td', {}, ago(created_at)),
    el('td', {}, el('button', { type: 'button', onclick: async () => {
      if (id === pushed()) await unsubscribe();
      else await end(id);
      await showSubscriptions();
    } }, 'Remove')))));
}
