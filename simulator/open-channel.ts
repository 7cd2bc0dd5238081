import type { Activity } from './activity.ts';
import { answerCommand, placeOf } from './answer-command.ts';
import type { Availability } from './availability.ts';
import type { Behaviour } from './behaviour.ts';
import { deviceKeys, enrollmentIdOf, type IdentityKeys, makeCheckIn, userKeys } from './check-in-messages.ts';
import type { Aftermath } from './commands/command-definition.ts';
import { DeclarativeClient } from './declarations/synchronize-declarations.ts';
import type { DeviceCertificate } from './device-certificate.ts';
import { DeviceChannel } from './device-channel.ts';
import { type DeviceModel, type DeviceUser, drawPushAddress, type PushAddress } from './device-model.ts';
import type { DeviceState } from './device-state.ts';
import type { Ledger } from './ledger.ts';
import type { MdmClient, Reply } from './mdm-client.ts';
import { Poller } from './poller.ts';
import type { Random } from './random.ts';

/** A channel in use: how it talks, when it polls, and where pushes reach it. */
export interface OpenChannel {
  readonly enrollmentId: string;
  readonly keys: IdentityKeys;
  readonly channel: DeviceChannel;
  readonly poller: Poller;
  readonly declarations: DeclarativeClient;
  push: PushAddress;
}

export interface OpenChannelOptions {
  readonly model: DeviceModel;
  readonly state: DeviceState;
  /** Undefined for the device channel. */
  readonly user: DeviceUser | undefined;
  readonly random: Random;
  readonly ledger: Ledger;
  readonly behaviour: Behaviour;
  readonly availability: Availability;
  readonly activity: Activity;
  readonly client: MdmClient;
  /** The identity of the moment: it may be renewed while the channel is open. */
  readonly identity: () => DeviceCertificate;
  /** What is left to be done at the end of this connection, which ends now. */
  readonly onAftermath: (aftermath: Aftermath) => void;
  readonly onRefused: (reply: Reply) => void;
  /** Runs at the end of each connection. */
  readonly onConversed: () => Promise<void>;
}

export function openChannel(options: OpenChannelOptions): OpenChannel {
  const { model, state, user, random, behaviour, activity, client, identity } = options;
  const enrollmentId = enrollmentIdOf(model, user);
  const keys = user === undefined ? deviceKeys(model) : userKeys(model, user);
  const place = placeOf(model.platform, user === undefined ? 'device' : 'user');
  const draws = random.fork('answers');
  const channel = new DeviceChannel({
    keys,
    place,
    ledger: options.ledger.of(enrollmentId),
    behaviour,
    random,
    availability: options.availability,
    put: (contentType, body) => client.put(contentType, body, identity()),
    answer: (requestType, request) =>
      answerCommand(requestType, {
        request,
        place,
        model,
        state,
        random: draws,
        now: new Date(Date.now() + behaviour.clockSkewMs),
        identityCertificate: identity().certificateDer,
        tokenHex: opened.push.tokenHex,
      }),
    afterwards: async (aftermath) => {
      if (aftermath !== 'synchronize-declarations') {
        options.onAftermath(aftermath);
        return false;
      }
      await opened.declarations.synchronize();
      return true;
    },
    onRefused: options.onRefused,
  });
  const poller = new Poller({
    converse: async () => {
      const last = await channel.converse();
      await options.onConversed();
      return last;
    },
    activity,
    notNowRetryMs: behaviour.notNowRetryMs,
    signal: channel.signal,
  });
  const declarations = new DeclarativeClient({
    model,
    state,
    request: async (Endpoint, Data) => {
      const reply = await channel.checkIn(makeCheckIn('DeclarativeManagement', keys, { Endpoint, Data }), 1);
      return reply?.status === 200 ? reply.body : undefined;
    },
  });
  const push = drawPushAddress(random.fork('push'));
  const opened: OpenChannel = { enrollmentId, keys, channel, poller, declarations, push };
  return opened;
}
