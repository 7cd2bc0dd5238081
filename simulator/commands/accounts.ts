import { acknowledge, acknowledgeOnly, type CommandTable, malformed, refuseMdm } from './command-definition.ts';

/** Accounts on Macs and Shared iPads. */
export const ACCOUNTS: CommandTable = {
  AccountConfiguration: {
    where: 'm',
    run: ({ request, state }) => {
      if (!state.isAwaitingConfiguration) return refuseMdm(12008, 'The device is not awaiting configuration');
      const needsAdmin =
        request.boolean('SkipPrimarySetupAccountCreation') || request.boolean('SetPrimarySetupAccountAsRegularUser');
      const admin = request.list('AutoSetupAdminAccounts').at(0);
      return needsAdmin && admin === undefined ? malformed('AutoSetupAdminAccounts is needed') : acknowledge();
    },
  },
  SetAutoAdminPassword: { where: 'm', needs: { GUID: 'string', passwordHash: 'data' }, run: acknowledgeOnly },
  UnlockUserAccount: {
    where: 'm',
    needs: { UserName: 'string' },
    run: ({ request, state }) =>
      state.users.has(request.string('UserName') ?? '') ? acknowledge() : refuseMdm(12071, 'There is no such user'),
  },
  UserList: {
    where: 'sm',
    run: ({ state, place }) =>
      acknowledge({
        Users: [...state.users.values()].map((user) => ({
          UserName: user.shortName,
          IsLoggedIn: user.isLoggedIn,
          ...(place === 'm'
            ? {
                FullName: user.fullName,
                UID: user.uid,
                UserGUID: user.guid,
                MobileAccount: false,
                HasSecureToken: true,
              }
            : { HasDataToSync: false, DataQuota: 5_000_000_000, DataUsed: 1_200_000_000 }),
        })),
      }),
  },
  DeleteUser: {
    where: 'sm',
    run: ({ request, state }) => {
      if (request.boolean('DeleteAllUsers')) {
        state.users.clear();
        return acknowledge();
      }
      const shortName = request.string('UserName');
      if (shortName === undefined) return malformed('UserName or DeleteAllUsers is needed');
      const user = state.users.get(shortName);
      if (user === undefined) return refuseMdm(12071, 'There is no such user');
      if (user.isLoggedIn && !request.boolean('ForceDeletion')) return refuseMdm(12072, 'The user is logged in');
      state.users.delete(shortName);
      return acknowledge();
    },
  },
  LogOutUser: {
    where: 's',
    run: ({ state }) => {
      for (const user of state.users.values()) user.isLoggedIn = false;
      return acknowledge();
    },
  },
};
