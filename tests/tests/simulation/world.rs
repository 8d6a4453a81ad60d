//! The simulated world: objects with databases that outlive them, ways between them that pause and
//! lose, a clock and randomness from one seed. It must not know what clients want or expect.

use agent::{context::Context, platform::Platform, reply::Reply};
use futures_util::{
    Stream, StreamExt as _,
    future::LocalBoxFuture,
    stream::{self, LocalBoxStream},
    task::noop_waker_ref,
};
use identity::keyring::KeyRing;
use router::{
    streams::StreamId,
    user::User,
    world::{Form, World as Surroundings},
};
use shared::{
    AgentKey, Error, Kind, Millis, Scope, UserId,
    config::Config,
    database::native::Embedded,
    hop::{Access, Change, Changes, NotesAnswer, NotesHop},
    notes,
    outside::Answer,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{self, Poll},
};

/// SplitMix64: small, and the same everywhere.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed ^ 0x5DEE_CE66_D1CE_4E5B))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub(crate) fn below(&self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Whether something happens that happens so many times in a hundred.
    pub(crate) fn percent(&self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

/// Resolves after so many polls.
struct Pause(usize);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<()> {
        match self.0.checked_sub(1) {
            None => Poll::Ready(()),
            Some(left) => {
                self.0 = left;
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// An object: storage that stays, memory that may go.
struct Object<T> {
    database: Rc<Embedded>,
    live: Option<Rc<T>>,
}

impl<T> Object<T> {
    fn new() -> Self {
        Self { database: Rc::new(Embedded::in_memory()), live: None }
    }

    /// The object, made from its storage if it is not there.
    fn wake(&mut self, make: impl FnOnce(Rc<Embedded>) -> T) -> Rc<T> {
        let database = Rc::clone(&self.database);
        Rc::clone(self.live.get_or_insert_with(|| Rc::new(make(database))))
    }

    /// Forgets the memory, if nobody is using it.
    fn evict(&mut self) -> bool {
        self.live.take_if(|live| Rc::strong_count(live) == 1).is_some()
    }
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) clock: Cell<u64>,
    pub(crate) lost: Cell<u64>,
    /// What goes on after the request that began it is answered.
    tasks: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    config: Rc<Config>,
    routers: RefCell<BTreeMap<UserId, Object<User<Embedded>>>>,
    agents: RefCell<BTreeMap<String, Object<Context>>>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            random: Random::new(seed),
            clock: Cell::new(1_800_000_000_000),
            lost: Cell::new(0),
            tasks: RefCell::default(),
            config: Rc::new(Config::default()),
            routers: RefCell::default(),
            agents: RefCell::default(),
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn user(&self, id: &UserId) -> Rc<User<Embedded>> {
        let mut routers = self.routers.borrow_mut();
        let object = routers.entry(id.clone()).or_insert_with(Object::new);
        object.wake(|database| User::new(Rc::clone(&self.config), id.clone(), database))
    }

    fn context(self: &Rc<Self>, key: &AgentKey) -> Rc<Context> {
        let mut agents = self.agents.borrow_mut();
        let object = agents.entry(key.object_name()).or_insert_with(Object::new);
        object.wake(|database| {
            let platform = Near { world: Rc::clone(self), user: key.user.clone() };
            Context::new(Rc::clone(&self.config), database, Rc::new(platform))
        })
    }

    /// One object that nobody is using loses its memory.
    pub(crate) fn evict_one(&self) -> bool {
        let mut agents = self.agents.borrow_mut();
        let mut routers = self.routers.borrow_mut();
        let pick = self.random.below(agents.len() + routers.len() + 1);
        match agents.values_mut().nth(pick) {
            Some(agent) => agent.evict(),
            None => routers.values_mut().nth(pick - agents.len()).is_some_and(Object::evict),
        }
    }

    /// Lets whatever goes on by itself go on.
    pub(crate) fn poll_tasks(&self) {
        let mut context = task::Context::from_waker(noop_waker_ref());
        let mut tasks = self.tasks.take();
        tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
        self.tasks.borrow_mut().append(&mut tasks);
    }

    /// Every object loses its memory. Whoever was using one must be gone already.
    pub(crate) fn restart(&self) {
        self.tasks.take();
        self.agents.borrow_mut().values_mut().for_each(|agent| agent.live = None);
        self.routers.borrow_mut().values_mut().for_each(|router| router.live = None);
    }

    async fn pause(&self) {
        Pause(self.random.below(4)).await;
    }

    /// What travels is sometimes lost, on the way there or on the way back.
    fn is_lost(&self) -> bool {
        let lost = self.random.percent(4);
        self.lost.set(self.lost.get() + u64::from(lost));
        lost
    }
}

fn unreachable_object() -> Error {
    Error::new(Kind::Unavailable, "lost")
}

/// An Agent's response.
pub(crate) struct Response {
    pub(crate) status: u16,
    form: Form,
    pieces: LocalBoxStream<'static, String>,
}

impl Response {
    /// The body, once all of it has come.
    pub(crate) async fn body(self) -> String {
        self.pieces.collect::<Vec<_>>().await.concat()
    }
}

/// The way from the routers to the Agents.
pub(crate) struct Ways(pub(crate) Rc<World>);

impl Surroundings for Ways {
    type Response = Response;

    fn now(&self) -> Millis {
        Millis(self.0.clock.get())
    }

    fn log(&self, error: &Error) {
        assert_ne!(error.kind, Kind::Internal, "our own mistake: {error}");
    }

    async fn forward(&self, key: &AgentKey, hop: String) -> Result<Response, Error> {
        self.0.pause().await;
        if self.0.is_lost() {
            return Err(unreachable_object());
        }
        let reply = self.0.context(key).serve(&hop).await?;
        self.0.pause().await;
        if self.0.is_lost() {
            return Err(unreachable_object());
        }
        let (status, form, pieces) = match reply {
            Reply::Json { status, body } => {
                (status, Form::Whole, stream::iter([body]).boxed_local())
            }
            Reply::Events(body) => (200, Form::Whole, body.boxed_local()),
            Reply::Lines(body) => (200, Form::Lines, body.boxed_local()),
        };
        Ok(Response { status, form, pieces })
    }

    async fn part(&self, key: &AgentKey, hop: String) -> Result<String, Error> {
        Ok(self.forward(key, hop).await?.body().await)
    }

    async fn interest(&self, key: &AgentKey, hop: String) -> Result<(), Error> {
        self.0.context(key).interest(&hop).await
    }

    async fn verify(&self, key: &AgentKey, hop: String) -> Result<Access, Error> {
        let access = self.0.context(key).verify(&hop).await?;
        serde_json::from_str(&access).map_err(|error| Error::internal(error.to_string()))
    }

    async fn stop(&self, key: &AgentKey, hop: String) -> Result<(), Error> {
        self.0.context(key).stop(&hop)
    }

    async fn word(&self, _key: &AgentKey, _word: String) -> Result<bool, Error> {
        Ok(false)
    }

    fn is_ok(response: &Response) -> bool {
        response.status == 200
    }

    fn form(response: &Response) -> Form {
        response.form
    }

    fn pieces(
        response: Response,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, Error>> + Unpin + 'static, Error> {
        Ok(response.pieces.map(|piece| Ok(piece.into_bytes())))
    }

    fn sleep(&self, _milliseconds: u64) -> LocalBoxFuture<'static, ()> {
        // Whoever answers here does so in time.
        Box::pin(std::future::pending())
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        self.0.tasks.borrow_mut().push(work);
    }

    fn send(&self, _stream: StreamId, _events: &str) {}

    fn hang_up(&self, _stream: StreamId) {}

    fn is_connected(&self, _stream: StreamId) -> bool {
        false
    }

    async fn ask(&self, _request: upstream::Request) -> Result<Answer, String> {
        Err("there is nothing outside of this world".to_owned())
    }

    fn random(&self) -> Result<[u8; 32], Error> {
        Ok(self.0.random.bytes())
    }

    fn ring(&self) -> Option<Rc<KeyRing>> {
        None
    }

    fn origin(&self) -> Option<String> {
        None
    }

    fn secret(&self, _name: &str) -> Option<String> {
        None
    }
}

/// The world as one Agent sees it.
struct Near {
    world: Rc<World>,
    user: UserId,
}

impl Platform for Near {
    fn now(&self) -> Millis {
        Millis(self.world.clock.get())
    }

    fn random(&self) -> [u8; 12] {
        self.world.random.bytes()
    }

    fn sleep(&self, _milliseconds: u32) -> LocalBoxFuture<'static, ()> {
        Box::pin(Pause(2))
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        self.world.tasks.borrow_mut().push(work);
    }

    fn wake(&self, _at: Millis) -> LocalBoxFuture<'static, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn send(
        &self,
        _request: upstream::Request,
    ) -> LocalBoxFuture<'static, Result<upstream::Response, String>> {
        Box::pin(std::future::ready(Err("there is nothing outside of this world".to_owned())))
    }

    fn secret(&self, _name: &str) -> Option<String> {
        None
    }

    fn log(&self, error: &Error) {
        assert_ne!(error.kind, Kind::Internal, "our own mistake: {error}");
    }

    fn shared_notes(&self, request: notes::Request) -> LocalBoxFuture<'static, NotesAnswer> {
        let (world, user) = (Rc::clone(&self.world), self.user.clone());
        Box::pin(async move {
            world.pause().await;
            if world.is_lost() {
                return Err(unreachable_object());
            }
            let hop = NotesHop { user: user.clone(), request, now: Millis(world.clock.get()) };
            let answer = world.user(&user).shared_notes(&hop);
            world.pause().await;
            if world.is_lost() { Err(unreachable_object()) } else { answer }
        })
    }

    fn credential(
        &self,
        _name: &str,
        _rejected: Option<String>,
    ) -> LocalBoxFuture<'static, shared::hop::CredentialAnswer> {
        Box::pin(std::future::ready(Err(Error::new(Kind::Unavailable, "not here"))))
    }

    fn changed(
        &self,
        scope: &Scope,
        changes: Vec<Change>,
    ) -> LocalBoxFuture<'static, Result<(), Error>> {
        let (world, user, scope) = (Rc::clone(&self.world), self.user.clone(), scope.clone());
        Box::pin(async move {
            world.pause().await;
            if world.is_lost() {
                return Err(unreachable_object());
            }
            let changes = Changes { user: user.clone(), scope, changes };
            world.user(&user).changed(&Ways(Rc::clone(&world)), &changes)
        })
    }
}
