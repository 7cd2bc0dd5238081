import { readFileSync } from 'node:fs';

const sample = (name: string): Buffer => readFileSync(new URL(`./samples/${name}.plist`, import.meta.url));

/** What a Mac says when it enrolls, in the form that macOS writes. Names, serials and identifiers are made up. */
export const AUTHENTICATE = sample('authenticate');
/** With `<data>` broken over lines behind tabs. */
export const TOKEN_UPDATE = sample('token-update');
/** The answer to a DeviceInformation command: 3 KB, every kind of value but an integer beyond 2^53. */
export const DEVICE_INFORMATION = sample('device-information');

const app = (index: number): string => `		<dict>
			<key>BundleSize</key>
			<integer>${(index * 7_919_993) % 900_000_000}</integer>
			<key>Identifier</key>
			<string>com.example.vendor${index % 40}.application-${index}</string>
			<key>Installing</key>
			<false/>
			<key>IsValidated</key>
			<true/>
			<key>Name</key>
			<string>${index % 9 === 0 ? `Search &amp; Find ${index}` : `Application Number ${index}`}</string>
			<key>ShortVersion</key>
			<string>${index % 30}.${index % 10}.${index % 7}</string>
			<key>Source</key>
			<string>Enterprise</string>
			<key>Version</key>
			<string>${index * 3}</string>
		</dict>
`;

/** An InstalledApplicationList answer. 520 apps make about 220 KB, as a well-used Mac sends it. */
export function installedApplicationList(apps: number): Buffer {
  let list = '';
  for (let index = 0; index < apps; index += 1) list += app(index);
  return Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>CommandUUID</key>
	<string>2d0f3a52-6a3c-4b62-8f3e-0c1f7be0a9d4</string>
	<key>InstalledApplicationList</key>
	<array>
${list}	</array>
	<key>Status</key>
	<string>Acknowledged</string>
	<key>UDID</key>
	<string>8B4C1F0E-5D2A-5C7B-9E63-0A1F2B3C4D5E</string>
</dict>
</plist>
`);
}
