import type {components} from './openapi.js'

type Schemas = components['schemas']

export type AccountPage = Schemas['AccountPage']
export type EnqueuedRequest = Schemas['NewRequestState']
export type Gate = Schemas['GateItem']
export type GatePage = Schemas['GatePage']
export type QueueState = Schemas['QueueState']
export type RequestState = Schemas['RequestState']
export type Score = Schemas['Score']
export type ScoreChanges = Schemas['ScoreChanges']
export type ScorePage = Schemas['ScorePage']
export type ScoreSummary = Schemas['ScoreSummary']

/**
 * Returns the gates that keep new data of an account back; with null, those that keep everybody's back.
 *
 * Modes of planning and fallbacks keep nothing back that a reader asks for, nor does a denial to one of several
 * connections.
 */
export function gatesOf(gates: readonly Gate[], account: string | null): readonly Gate[] {
  return gates.filter(
    (gate) =>
      (gate.account === null || gate.account === account) &&
      (gate.rule !== 'switch' || gate.scope === 'switch:calls') &&
      (gate.rule !== 'denial' || gate.scope.startsWith('account:')) &&
      !gate.scope.startsWith('fallback:'),
  )
}
