-- Types of events that came, so that authors are warned of others. Written behind the answer.
create table event_type (
    account int  not null references account,
    type    text not null,
    primary key (account, type)
);
