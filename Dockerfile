# Node runs the TypeScript as it is: there is nothing to build. Run it with --init (Compose: init: true).
FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# The optional dependencies are a Node of their own for machines that have another one; the image brings it.
RUN npm ci --omit=dev --omit=optional --ignore-scripts && npm cache clean --force

FROM node:24-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY . .
USER node
EXPOSE 9000
CMD ["node", "server/main.ts"]
